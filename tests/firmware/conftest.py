"""MicroPython for the tests of the lamp's program, and what is around a lamp."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parent.parent.parent
# The lamp's own modules by the names that they have on the lamp, and a stand-in for what CPython does not have.
sys.path[:0] = [str(ROOT / "esp32"), str(Path(__file__).parent / "cpython")]

from esp32 import build  # noqa: E402
from tests.firmware.boards import Board, Firmware, micropython  # noqa: E402
from tests.gateway.conftest import fleet as fleet  # noqa: E402
from tests.gateway.conftest import start as start  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """Compile the program as it goes onto a lamp, and the fakes."""
    if not micropython().exists():
        reason = "there is no MicroPython for this machine: set MICROPYTHON to one that you built"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("firmware")
    build.build(folder)
    for source in (HERE / "fakes").glob("*.py"):
        build.compiled(source, folder / "fakes" / f"{source.stem}.mpy")
    return Firmware(folder)


MakeBoard = Callable[..., Board]


@pytest.fixture
async def boards(firmware: Firmware, tmp_path: Path) -> AsyncIterator[MakeBoard]:
    """Return a function that makes boards; all are off at the end."""
    made: list[Board] = []

    def make(script: Path | None = None, **settings: object) -> Board:
        board = Board(firmware, tmp_path / f"board-{len(made) + 1}", script)
        if settings:
            board.set(**settings)
        made.append(board)
        return board

    yield make
    for board in made:
        await board.power_off()


# --- certificates


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def _certificate(
    name: str, key: ec.EllipticCurvePrivateKey, signer: Authority | None, first: int, last: int, names: list[str]
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(signer.certificate.subject if signer else named(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.datetime(first, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(last, 1, 1, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=signer is None, path_length=0 if signer is None else None), True)
    )
    if names:
        alternatives: list[x509.GeneralName] = [x509.DNSName(one) for one in names if not one[0].isdigit()]
        alternatives += [x509.IPAddress(ipaddress.ip_address(one)) for one in names if one[0].isdigit()]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), False)
    return builder.sign(signer.key if signer else key, hashes.SHA256())


def authority(name: str = "fleet") -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, _certificate(name, key, None, 2000, 2050, []))


MakeTls = Callable[..., ssl.SSLContext]


@pytest.fixture(scope="session")
def ca() -> Authority:
    """Return who signs the certificates of the fleet."""
    return authority()


@pytest.fixture
def tls(ca: Authority, tmp_path: Path) -> MakeTls:
    """Return a function that makes a server's side of TLS, with a certificate as wanted."""

    def make(signer: Authority = ca, first: int = 2000, last: int = 2050, names: str = "127.0.0.1") -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _certificate("gateway", key, signer, first, last, names.split())
        file = tmp_path / f"gateway-{key.private_numbers().private_value:x}"[:80]
        file.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    return make

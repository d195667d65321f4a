"""Certificates, right and wrong ones."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """Who signs certificates."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)


def authority(name: str = "fleet") -> Authority:
    """Make one that is valid from a lamp's year 2000 on."""
    key = ec.generate_private_key(ec.SECP256R1())
    return Authority(key, _certificate(name, key, None, 2000, 2050, []))


def server_context(
    signer: Authority, folder: Path, *, first: int = 2000, last: int = 2050, names: str = "127.0.0.1"
) -> ssl.SSLContext:
    """Return a server's side of TLS with a certificate for ``names``, valid from year ``first`` to ``last``."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate("gateway", key, signer, first, last, names.split())
    file = folder / f"gateway-{secrets.token_hex(4)}.pem"
    plain = serialization.NoEncryption()
    file.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


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

"""The certificates of a fleet, judged by real handshakes."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509

from espfleet.certificates.addresses import own_names
from espfleet.certificates.authority import der_of, pem_of
from espfleet.certificates.folder import RENEW_DAYS, Folder
from espfleet.errors import ConflictError, InvalidError, StartError

NOW = datetime.datetime(2026, 3, 1, tzinfo=datetime.UTC)
NAMES = ("lamps.example", "127.0.0.1", "::1")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path, lambda: NOW)


def handshake(server: Path, trusted: bytes, name: str = "lamps.example") -> str:
    """Return how a handshake ends: the version of TLS, or why it was refused."""
    here, there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    here.load_cert_chain(server)
    there.load_verify_locations(cadata=trusted.decode())
    there.verify_flags |= ssl.VERIFY_X509_STRICT
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = there.wrap_bio(down, up, server_hostname=name)
    host = here.wrap_bio(up, down, server_side=True)
    for _ in range(5):
        for side in (client, host):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError as exc:
                return exc.verify_message
    return client.version() or ""


def pem(certificate: x509.Certificate) -> bytes:
    return pem_of(certificate)


@pytest.mark.parametrize("name", NAMES)
def test_the_server_is_known_by_each_of_its_names(folder: Folder, name: str) -> None:
    made = folder.make(NAMES)
    assert handshake(folder.server, pem(made.trusted[0]), name) == "TLSv1.3"


def test_the_server_is_not_known_by_another_name(folder: Folder) -> None:
    made = folder.make(NAMES)
    assert "mismatch" in handshake(folder.server, pem(made.trusted[0]), "other.example")


def test_everything_is_valid_from_the_year_2000_on_for_lamps_without_a_clock(folder: Folder) -> None:
    folder.make(NAMES)
    rotated = folder.rotate()
    chain = x509.load_pem_x509_certificates(folder.server.read_bytes())
    assert len(chain) == 2
    for one in (*chain, *rotated.trusted):
        assert one.not_valid_before_utc.year == 2000
        assert one.not_valid_after_utc > NOW + datetime.timedelta(days=700)


def test_private_keys_are_for_their_owner_only(folder: Folder, tmp_path: Path) -> None:
    folder.make(NAMES)
    folder.issue(["other.example"], tmp_path / "other.pem")
    folder.rotate()
    secret = [path for path in tmp_path.rglob("*.pem") if b"PRIVATE KEY" in path.read_bytes()]
    assert {path.name for path in secret} == {"authority.pem", "server.pem", "other.pem"}
    assert {path.stat().st_mode & 0o777 for path in secret} == {0o600}
    assert folder.path.stat().st_mode & 0o777 == 0o700


def test_a_renewed_certificate_needs_no_new_trust(folder: Folder) -> None:
    made = folder.make(NAMES)
    renewed = folder.renew(["new.example"])
    assert renewed.server != made.server
    assert renewed.trusted == made.trusted
    assert handshake(folder.server, pem(made.trusted[0]), "new.example") == "TLSv1.3"


def test_while_rotating_lamps_are_served_that_know_either_authority_or_both(folder: Folder) -> None:
    older = folder.make(NAMES).trusted[0]
    rotated = folder.rotate()
    newer = rotated.trusted[0]
    assert list(rotated.trusted) == [newer, older]
    for trusted in (pem(older), pem(newer), folder.bundle.read_bytes()):
        assert handshake(folder.server, trusted) == "TLSv1.3"
    assert folder.for_lamps.read_bytes() == der_of(newer, older)


def test_while_rotating_lamps_that_know_both_are_served_by_machines_that_are_not_renewed(
    folder: Folder, tmp_path: Path
) -> None:
    folder.make(NAMES)
    folder.issue(["other.example"], tmp_path / "other.pem")
    folder.rotate()
    assert handshake(tmp_path / "other.pem", folder.bundle.read_bytes(), "other.example") == "TLSv1.3"


def test_a_finished_rotation_ends_the_trust_in_the_older_authority(folder: Folder) -> None:
    older = folder.make(NAMES).trusted[0]
    newer = folder.rotate().trusted[0]
    assert folder.finish().trusted == [newer]
    assert handshake(folder.server, folder.bundle.read_bytes()) == "TLSv1.3"
    assert "unable to get" in handshake(folder.server, pem(older))


def test_a_rotation_goes_step_by_step(folder: Folder) -> None:
    with pytest.raises(StartError, match="certs make"):
        folder.rotate()
    folder.make(NAMES)
    with pytest.raises(ConflictError, match="certs rotate"):
        folder.finish()
    with pytest.raises(ConflictError, match="renew"):
        folder.make(NAMES)
    folder.rotate()
    with pytest.raises(ConflictError, match="--finish"):
        folder.rotate()


def test_lamps_that_were_told_are_remembered_until_the_rotation_is_finished(folder: Folder) -> None:
    folder.make(NAMES)
    folder.rotate()
    folder.note_told(["3c71bff93720"])
    folder.note_told(["a4cf12aa0001"])
    assert folder.told() == {"3c71bff93720", "a4cf12aa0001"}
    folder.finish()
    assert folder.told() == set()


def test_what_is_about_to_end_is_renewed_in_time(tmp_path: Path) -> None:
    made = Folder(tmp_path, lambda: NOW).ensure(NAMES)
    assert Folder(tmp_path, lambda: NOW).ensure(NAMES).server == made.server
    later = made.server.not_valid_after_utc - datetime.timedelta(days=RENEW_DAYS - 1)
    renewed = Folder(tmp_path, lambda: later).ensure(NAMES)
    assert renewed.server != made.server
    assert renewed.days_left(later) > 700
    assert renewed.names == made.names


def test_without_the_authority_nothing_is_issued(folder: Folder) -> None:
    folder.make(NAMES)
    (folder.path / "authority.pem").unlink()
    with pytest.raises(StartError, match="on the machine that has it"):
        folder.renew()


@pytest.mark.parametrize(
    "names",
    [
        [],
        ["a name with spaces\u2603" + "x" * 80],
        ["lamps.example 192.0.2.7"],
        ["https://lamps.example"],
        ["lamps.example:5678"],
        ["lamps.example", "192.0.2.700"],
    ],
)
def test_a_name_by_which_nobody_can_know_a_server_is_refused_and_what_was_there_stays(
    folder: Folder, names: list[str]
) -> None:
    with pytest.raises(InvalidError):
        folder.make(names)
    made = folder.make(NAMES)
    with pytest.raises(InvalidError):
        folder.renew(names)
    assert folder.read() == made


@pytest.mark.parametrize("name", ["*.lamps.example", "pi", "lamp_1.local", "l\u00e4mpchen.example", "fd00::2"])
def test_unusual_names_are_names(folder: Folder, name: str) -> None:
    assert len(folder.make([name]).names) == 1


def test_a_damaged_file_is_named(folder: Folder) -> None:
    folder.make(NAMES)
    folder.server.write_text("nothing")
    with pytest.raises(StartError, match=r"certs cannot be read"):
        folder.read()


def test_a_machine_knows_loopback_and_what_it_was_told() -> None:
    names = own_names(["0.0.0.0", "lamps.example", "lamps.example"])
    assert names[0] == "lamps.example"
    assert {"localhost", "127.0.0.1", "::1"} <= set(names)
    assert "0.0.0.0" not in names
    assert len(set(names)) == len(names)

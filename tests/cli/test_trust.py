"""``certs``, ``token`` and ``audit`` as people type them."""

from __future__ import annotations

import datetime
import stat
from pathlib import Path

import pytest

from espfleet.cli.encryption import now
from tests.cli.conftest import Type


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_certificates_are_made_shown_renewed_and_rotated(type_: Type, home: Path) -> None:
    missing = type_("certs", "show")
    assert missing.code == 1
    assert "'./espcli certs make' makes them" in missing.err
    made = type_("certs", "make", "--names", "lamps.example,192.0.2.7")
    assert made.json["names"] == ["lamps.example", "192.0.2.7"]
    folder = home / ".espfleet" / "certs"
    assert {one.name: mode(one) for one in folder.iterdir()} == {
        ".lock": 0o600, "authority.pem": 0o600, "server.pem": 0o600, "ca.pem": 0o644, "ca.der": 0o644,
    }  # fmt: skip
    again = type_("certs", "make")
    assert again.code == 1
    assert "certs renew" in again.err
    shown = type_("certs", "show").json
    assert shown == made.json
    assert shown["days left"] > 700
    assert type_("certs", "renew", "--names", "other.example").json["names"] == ["other.example"]
    assert type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720").code == 0
    begun = type_("certs", "rotate").json
    assert begun == {"told": [], "missing": ["porch"]}
    refused = type_("certs", "rotate", "--finish")
    assert refused.code == 1
    assert "would be lost: porch" in refused.err
    done = type_("certs", "rotate", "--finish", "--force").json
    assert done["rotating"] is False
    assert done["authority"] != shown["authority"]


def test_another_machine_gets_its_own_certificate(type_: Type, home: Path) -> None:
    type_("certs", "make")
    unnamed = type_("certs", "make", "--file", str(home / "second.pem"))
    assert "add --names" in unnamed.err
    assert type_("certs", "make", "--names", "second.example", "--file", str(home / "second.pem")).code == 0
    assert mode(home / "second.pem") == 0o600


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("TLS=perhaps", "it must be on or off"),
        ("TLS=on\nTLS_KEY=key.pem", "TLS_KEY is set and TLS_CERT is not"),
    ],
)
def test_settings_of_tls_that_cannot_be_are_refused(type_: Type, home: Path, lines: str, sentence: str) -> None:
    (home / ".env").write_text(lines)
    told = type_("devices")
    assert told.code == 1
    assert sentence in told.err


def test_doctor_tells_of_tokens_that_can_be_read_and_of_certificates_that_end(
    type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, dict[str, str]]:
        return {one["check"]: one for one in type_("doctor").json}

    assert "TLS" not in found()
    monkeypatch.setenv("WEB_HOST", "192.0.2.1")
    assert "tokens can be read" in found()["TLS"]["found"]
    monkeypatch.setenv("TLS", "on")
    assert found()["TLS"]["verdict"] == "fine"
    type_("certs", "make")
    assert "valid for 7" in found()["TLS"]["found"]
    monkeypatch.setattr("espfleet.certificates.folder.RENEW_DAYS", 5_000)
    assert "ends in" in found()["TLS"]["found"]
    (home / ".espfleet" / "certs" / "server.pem").write_text("")
    assert found()["TLS"]["verdict"] == "bad"


def test_a_token_is_rotated_and_all_of_it_is_in_the_audit(type_: Type) -> None:
    first = type_("token", "laptop", "add", "--role", "operator").json["token"]
    second = type_("token", "laptop", "rotate", "--hours", "2").json["token"]
    rows = type_("tokens").json
    assert sorted((row["name"], row["role"], "until_ms" in row) for row in rows) == [
        ("laptop", "operator", False),
        ("laptop", "operator", True),
    ]
    assert type_("token", "laptop", "rotate", "--hours", "800").code == 1
    assert type_("token", "laptop", "remove").code == 0
    told = type_("audit")
    assert [entry["door"] for entry in told.json] == ["cli"] * 3
    assert {entry["who"] for entry in told.json} != {""}
    assert [row["did"] for row in told.json[0]["details"]["rows"]] == ["removed", "removed"]
    assert first not in told.out
    assert second not in told.out


def test_a_device_that_is_away_is_given_its_token_by_hand(type_: Type) -> None:
    type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720")
    away = type_("device", "porch", "rotate_token")
    assert away.code == 1
    assert "its token stays what it was" in away.err
    assert len(type_("device", "porch", "rotate_token", "--show").json["token"]) == 43


def test_doctor_looks_at_a_certificate_from_elsewhere_too(
    type_: Type, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> tuple[str, str]:
        told = next(one for one in type_("doctor").json if one["check"] == "TLS")
        return told["verdict"], told["found"]

    file = home / "other.pem"
    monkeypatch.setenv("TLS", "on")
    monkeypatch.setenv("TLS_CERT", str(file))
    assert found() == ("bad", f"{file} cannot be read: No such file or directory")
    type_("certs", "make")
    type_("certs", "make", "--names", "lamps.example", "--file", str(file))
    verdict, told = found()
    assert verdict == "fine"
    assert told.startswith(f"on, with {file}; valid for 7")
    monkeypatch.setattr("espfleet.certificates.folder.RENEW_DAYS", 5_000)
    assert found()[0] == "note"
    monkeypatch.setattr("espfleet.cli.doctor.now", lambda: now() + datetime.timedelta(days=800))
    assert found()[0] == "bad"
    monkeypatch.setattr("espfleet.cli.doctor.now", lambda: datetime.datetime(1999, 1, 1, tzinfo=datetime.UTC))
    assert found() == ("bad", f"{file} is not valid before 2000-01-01")
    file.write_text(file.read_text().partition("-----BEGIN CERT")[2])
    assert found() == ("bad", f"{file} holds no certificate and the key to it")

"""``backup`` and ``restore`` as people type them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tests.cli.conftest import Type


def fill(type_: Type) -> None:
    assert type_("target", "router", "add", "127.0.0.1").code == 0
    assert type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720").code == 0


def test_a_fleet_goes_into_a_file_and_comes_back(type_: Type, home: Path) -> None:
    fill(type_)
    path = home / "fleet.backup"
    told = type_("backup", str(path))
    assert told.code == 0
    assert told.json["rows"]["devices"] == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in home.iterdir() if "new" in one.name] == []
    refused = type_("restore", str(path))
    assert refused.code == 1
    assert "--force replaces all of that" in refused.err
    assert type_("unregister", "porch").code == 0
    assert type_("restore", str(path), "--force").json["replaced"]["targets"] == 1
    assert [row["name"] for row in type_("devices").json] == ["porch"]


def test_an_older_backup_stays_when_a_new_one_cannot_be_written(type_: Type, home: Path) -> None:
    fill(type_)
    path = home / "folder"
    path.mkdir()
    told = type_("backup", str(path))
    assert told.code == 1
    assert "cannot be written" in told.err
    assert list(home.iterdir()) == [path]
    for name in ("", ".", "/"):
        told = type_("backup", name)
        assert (told.code, told.err) == (1, f"espfleet: '{name}' is not the name of a file\n")
    missing = type_("backup", str(home / "nowhere" / "file"))
    assert "cannot be written: No such file or directory" in missing.err


def test_a_file_that_is_no_backup_gets_one_sentence(type_: Type, home: Path) -> None:
    (home / "picture").write_bytes(b"\x89PNG")
    for words, sentence in (
        ((str(home / "picture"),), "this is not a backup of an espfleet"),
        ((str(home / "missing"),), "cannot be read: No such file or directory"),
        ((str(home),), "cannot be read: Is a directory"),
    ):
        told = type_("restore", *words, "--force")
        assert told.code == 1
        assert sentence in told.err
        assert len(told.err.splitlines()) == 1


def test_what_is_no_ordinary_file_is_not_replaced_by_a_backup(type_: Type, home: Path) -> None:
    link, pipe = home / "link", home / "pipe"
    link.symlink_to("/dev/null")
    os.mkfifo(pipe)
    for place in (link, pipe):
        refused = type_("backup", str(place))
        assert refused.code == 1
        assert "is no ordinary file: name another" in refused.err
    assert link.readlink() == Path("/dev/null")
    assert pipe.is_fifo()


def test_a_file_without_an_end_is_no_backup(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.cli.backups.MOST_BYTES", 2**20)
    assert "is larger than 1 MiB: it is no backup" in type_("restore", "/dev/zero").err

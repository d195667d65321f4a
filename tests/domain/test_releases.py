"""Releases of the lamp's program."""

from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.releases import (
    MANIFEST_BYTES,
    RELEASE_BYTES,
    check_version,
    framed,
    new_release,
    seal,
    told,
    update_key,
)
from espfleet.errors import InvalidError

FILES = {"lamp/app.mpy": b"app", "lamp/board/__init__.mpy": b"", "lamp/ws.mpy": b"ws" * 900}


def test_a_manifest_lists_what_the_release_holds_in_this_order() -> None:
    release = new_release("0.2.0", FILES)
    first, *lines = [json.loads(line) for line in release.manifest.splitlines()]
    assert first == {"version": "0.2.0", "downgrade": False}
    assert lines == [[name, len(FILES[name]), sha256(FILES[name]).hexdigest()] for name in sorted(FILES)]
    assert release.data == b"".join(FILES[name] for name in sorted(FILES))


@given(st.integers(0, 3_000), st.integers(1, 2_048))
def test_pieces_are_parts_of_manifest_and_files(at: int, size: int) -> None:
    release = new_release("0.2.0", FILES)
    assert release.piece(at, size) == (release.manifest + release.data)[at : at + size]


def test_the_same_release_has_the_same_id_and_another_another() -> None:
    ids = {
        new_release("0.2.0", FILES).id,
        new_release("0.2.0", FILES, downgrade=True).id,
        new_release("0.2.1", FILES).id,
        new_release("0.2.0", FILES | {"lamp/app.mpy": b"App"}).id,
    }
    assert len(ids) == 4
    assert new_release("0.2.0", dict(reversed(FILES.items()))).id in ids


@pytest.mark.parametrize(
    "name",
    ["boot.py", "lamp", "lamp/", "/lamp/a.mpy", "lamp/../a.mpy", "lamp//a", "lamp/.a", "lamp/A", "lamp/ä", "a/lamp/a"],
)
def test_a_file_elsewhere_than_in_the_program_is_refused(name: str) -> None:
    with pytest.raises(InvalidError, match="is no place for a file of a release"):
        new_release("0.2.0", {name: b""})


def test_too_much_is_refused() -> None:
    with pytest.raises(InvalidError, match=f"more than the {RELEASE_BYTES} a lamp takes"):
        new_release("0.2.0", {"lamp/app.mpy": bytes(RELEASE_BYTES + 1)})
    with pytest.raises(InvalidError, match="has 100 files, more than a lamp takes"):
        new_release("0.2.0", {f"lamp/m{number}.mpy": b"" for number in range(100)})
    with pytest.raises(InvalidError, match="without a program"):
        new_release("0.2.0", {})
    assert len(new_release("0.2.0", {f"lamp/m{number}.mpy": b"" for number in range(80)}).manifest) <= MANIFEST_BYTES


@pytest.mark.parametrize("version", ["", "1", "v1.0", "1.0.", "1..0", "1.0-rc1", "1.2.3.4.5", "12345.0", "1.0\n"])
def test_a_version_is_numbers_with_points_between(version: str) -> None:
    with pytest.raises(InvalidError, match=r"is no version such as 0\.2\.0"):
        check_version(version)


def test_each_token_seals_otherwise_and_the_key_is_not_the_token() -> None:
    manifest = new_release("0.2.0", FILES).manifest
    assert len({seal(update_key(token), manifest) for token in ("one", "two")}) == 2
    assert update_key("one") != b"one"
    # Computed with OpenSSL.
    assert seal(bytes.fromhex("0b" * 20), b"Hi There") == (
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
    )


def test_a_frame_begins_with_its_place() -> None:
    assert framed(66_051, b"abc") == b"\x00\x01\x02\x03abc"


def test_of_what_a_lamp_tells_only_what_makes_sense_is_kept() -> None:
    assert told({"state": "writing", "version": "0.2.0", "done_bytes": 10, "total_bytes": 20}) == {
        "state": "writing",
        "version": "0.2.0",
        "done_bytes": 10,
        "total_bytes": 20,
        "error": "",
    }
    assert told({"state": "sleeping"}) == {}
    assert told({"state": ["writing"]}) == {}
    odd = {"state": "failed", "error": "x" * 300, "version": "\x1b[2J", "done_bytes": -1, "total_bytes": "20"}
    assert told(odd) == {"state": "failed", "error": "x" * 200}

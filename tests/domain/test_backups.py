"""A backup gives back what went in, and a damaged one gives back nothing."""

from __future__ import annotations

import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain import backups
from espfleet.domain.backups import Backup, pack, unpack
from espfleet.errors import InvalidError

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
TABLES = st.dictionaries(
    st.sampled_from(["devices", "rooms", "tokens"]),
    st.dictionaries(st.text(), st.dictionaries(st.text(), PLAIN, max_size=4), min_size=1, max_size=4),
)
SMALL = Backup(schema=1, made_ms=5, made_by="1.0", tables={"rooms": {"hall": {"name": "hall"}}})


@given(TABLES)
def test_what_goes_in_comes_out(tables: dict[str, dict[str, dict[str, object]]]) -> None:
    made = Backup(schema=1, made_ms=1_700_000_000_000, made_by="1.0", tables=tables)
    assert unpack(pack(made)) == made


def test_the_same_fleet_gives_the_same_file() -> None:
    assert pack(SMALL) == pack(SMALL)


@given(st.data())
def test_a_file_with_one_other_byte_is_refused_or_says_the_same(data: st.DataObject) -> None:
    """There is more than one way to pack the same text."""
    whole = pack(SMALL)
    at = data.draw(st.integers(10, len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        found = unpack(bytes(changed))
    except InvalidError:
        return
    assert found == unpack(whole)


@given(st.integers(0, len(pack(SMALL)) - 1))
def test_a_file_that_was_cut_is_refused(length: int) -> None:
    with pytest.raises(InvalidError):
        unpack(pack(SMALL)[:length])


@given(st.binary(max_size=400))
def test_any_other_file_is_refused(blob: bytes) -> None:
    with pytest.raises(InvalidError):
        unpack(blob)
    with pytest.raises(InvalidError):
        unpack(gzip.compress(blob))


def edited(old: str, new: str) -> bytes:
    """Return the small backup with other text in it, packed anew."""
    text = gzip.decompress(pack(SMALL)).decode()
    assert old in text
    return gzip.compress(text.replace(old, new).encode())


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"hall"', '"hell"', "this backup is damaged"),
        ('"rows":1', '"rows":2', "this backup is damaged"),
        ('"rows":1,', "", "this backup is damaged"),
        ("espfleet backup", "another backup", "this is not a backup of an espfleet"),
        ('"version":1', '"version":2', "made by a newer espfleet"),
        ('"version":1', '"version":"1"', "made by a newer espfleet"),
    ],
)
def test_an_edited_file_gets_one_sentence(old: str, new: str, sentence: str) -> None:
    with pytest.raises(InvalidError, match=sentence):
        unpack(edited(old, new))


def test_a_line_nested_beyond_all_measure_is_refused() -> None:
    deep = json.dumps({"format": backups.FORMAT, "version": 1}) + "\n" + "[" * 100_000 + "\n" + "[" * 100_000 + "\n"
    with pytest.raises(InvalidError, match="damaged"):
        unpack(gzip.compress(deep.encode()))


def test_a_file_that_unpacks_to_very_much_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups, "MOST_BYTES", 2**20)
    with pytest.raises(InvalidError, match="unpacks to more than 1 MiB"):
        unpack(gzip.compress(b" " * 2**22))

"""Minutes of readings; that they are packed so is tested in ``tests/store/test_readings.py``."""

from __future__ import annotations

import pytest

from espfleet.domain.minutes import HOUR_MS, unpack


def test_each_value_follows_the_time_within_its_hour() -> None:
    packed = bytes.fromhex("000000 f82b 0003e9 00011640 000016 41b43333 dbb9ff 3fd5555555555555")
    places_ms = (0, 250, 5, HOUR_MS - 1)
    values = (-20.05, 71_232, 22.525, 1 / 3)
    assert unpack(490_000, packed) == [
        (490_000 * HOUR_MS + place_ms, value) for place_ms, value in zip(places_ms, values, strict=True)
    ]
    assert unpack(-1, b"") == []


@pytest.mark.parametrize("packed", ["00", "000000", "000000f8", "000001000116", "ffffff3fd5555555555555"])
def test_what_is_cut_or_damaged_is_refused(packed: str) -> None:
    with pytest.raises(ValueError, match="bytes of hour 7 are cut or damaged at byte 0"):
        unpack(7, bytes.fromhex(packed))

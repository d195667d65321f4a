"""What is known of a group."""

from __future__ import annotations

import pytest

from espfleet.domain.states import Band, GroupLevel, State, band_of, unknown


@pytest.mark.parametrize(
    ("level", "band"),
    [(0, Band.GREEN), (49, Band.GREEN), (50, Band.ORANGE), (89, Band.ORANGE), (90, Band.RED), (100, Band.RED)],
)
def test_bands_begin_at_50_and_90(level: int, band: Band) -> None:
    assert band_of(level) is band
    assert GroupLevel(group="g", level=level, state=State.OK, at_ms=1).band is band


@pytest.mark.parametrize("state", [State.UNKNOWN, State.PAUSED, State.MAINTENANCE])
def test_a_level_that_says_nothing_has_no_band(state: State) -> None:
    assert GroupLevel(group="g", level=50, state=state, at_ms=1).band is None


def test_unknown_is_never_green() -> None:
    level = unknown("g", 5, "no samples yet")
    assert (level.state, level.level, level.band, level.reason) == (State.UNKNOWN, 50, None, "no samples yet")


def test_a_level_survives_being_stored() -> None:
    level = GroupLevel(group="g", level=70, state=State.OK, at_ms=9, seq=4, reason="a: loss 12 %")
    assert GroupLevel.from_dict("g", {**level.to_dict(), "unheard": 1}, 4) == level
    assert GroupLevel.from_dict("g", {"level": 50, "state": "unknown", "at_ms": 1}, 0) == unknown("g", 1, "")

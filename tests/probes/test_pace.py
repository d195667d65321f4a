from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.probes.pace import MS, TICK_NS, Pace

SECOND = 1_000 * MS
paces = st.builds(
    Pace,
    slots=st.integers(1, 100_000),
    interval_ns=st.integers(10, 3_600_000).map(lambda ms: ms * MS),
    origin_ns=st.integers(0, 10**18),
)


@given(paces, st.integers(0, 10**7))
def test_a_position_is_due_at_its_time_and_not_before(pace: Pace, position: int) -> None:
    due_ns = pace.due_ns(position)
    assert pace.due_count(due_ns) > position
    assert pace.due_count(due_ns - 1) <= position


@given(paces, st.integers(1, 10**6), st.integers(0, 99_999))
def test_a_slot_comes_round_exactly_once_an_interval_however_many_rounds_later(
    pace: Pace, number: int, slot: int
) -> None:
    slot %= pace.slots
    first, later = pace.due_ns(pace.slots + slot), pace.due_ns((1 + number) * pace.slots + slot)
    assert later - first == number * pace.interval_ns


def test_nothing_is_due_before_the_origin() -> None:
    assert Pace(3, SECOND, 5 * SECOND).due_count(5 * SECOND - 1) == 0
    assert Pace(3, SECOND, 5 * SECOND).due_count(5 * SECOND) == 1


def test_the_probes_of_a_round_are_spread_evenly_over_the_interval() -> None:
    pace = Pace(4, SECOND, 0)
    assert [pace.due_ns(position) // MS for position in range(4, 9)] == [1000, 1250, 1500, 1750, 2000]
    assert pace.step_ns(1) == 250 * MS


def test_a_target_probed_once_an_hour_gets_its_first_probe_within_a_second() -> None:
    pace = Pace(10, 3_600 * SECOND, 0)
    assert pace.due_count(SECOND) == 10
    assert pace.due_ns(10) == 3_600 * SECOND


def test_the_first_round_is_not_squeezed_to_more_than_one_probe_a_millisecond() -> None:
    assert Pace(50_000, 3_600 * SECOND, 0).due_ns(49_999) == 49_999 * MS


@pytest.mark.parametrize(
    ("slots", "interval_ms", "tick_ms"), [(3, 1_000, 20), (3_200, 1_000, 10), (50_000, 1_000, 2), (10, 10, 20)]
)
def test_a_tick_has_about_32_probes_and_lies_between_2_and_20_ms(slots: int, interval_ms: int, tick_ms: int) -> None:
    assert Pace(slots, interval_ms * MS, 0).tick_ns == tick_ms * MS
    assert TICK_NS == (2 * MS, 20 * MS)

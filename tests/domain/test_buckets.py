"""Buckets: so many at once, then at a steady pace, and nobody's for others to empty."""

from __future__ import annotations

import pytest

from espfleet.domain.buckets import REMEMBERED, Buckets

HERE, THERE = "192.0.2.1", "192.0.2.2"


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def taken(buckets: Buckets, source: str, tries: int) -> int:
    """Return how many of so many tries find something."""
    found = 0
    for _ in range(tries):
        if not buckets.wait_s(source):
            buckets.take(source)
            found += 1
    return found


def test_so_many_may_come_at_once_and_then_at_a_steady_pace(clock: Clock) -> None:
    buckets = Buckets(5, 0.1, clock)
    assert taken(buckets, HERE, 9) == 5
    assert buckets.wait_s(HERE) == pytest.approx(0.1)
    for _ in range(1_000):
        clock.now_s += 0.1
        assert taken(buckets, HERE, 2) == 1


def test_who_was_quiet_may_come_at_once_again_and_no_more_than_before(clock: Clock) -> None:
    buckets = Buckets(5, 0.1, clock)
    assert taken(buckets, HERE, 9) == 5
    clock.now_s += 0.25
    assert taken(buckets, HERE, 9) == 2
    clock.now_s += 3_600
    assert taken(buckets, HERE, 9) == 5


def test_others_have_their_own(clock: Clock) -> None:
    buckets = Buckets(5, 0.1, clock)
    taken(buckets, HERE, 9)
    assert buckets.wait_s(THERE) == 0
    assert taken(buckets, THERE, 9) == 5


def test_what_is_empty_owes_nothing(clock: Clock) -> None:
    buckets = Buckets(5, 0.1, clock)
    for _ in range(1_000):
        buckets.take(HERE)
    assert buckets.wait_s(HERE) == pytest.approx(0.1)


def test_memory_has_an_end_and_who_comes_all_the_time_stays_in_it(clock: Clock) -> None:
    buckets = Buckets(1, 1_000.0, clock)
    for number in range(3 * REMEMBERED):
        buckets.take(f"source {number}")
        buckets.take(HERE)
    assert len(buckets) == REMEMBERED
    assert buckets.wait_s(HERE) > 0
    assert buckets.wait_s("source 1") == 0

"""Bands and their memory."""

from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.bands import GREEN, NO_BAND, ORANGE, RED, Bands


class Member:
    """One member, given a level each second."""

    def __init__(self, *, step_ms: int = 1_000) -> None:
        self.bands = Bands()
        self.bands.resize(1)
        self.bands.clear(np.array([0]))
        self.at_ms = 0
        self.step_ms = step_ms

    def see(self, level: float, *, clear: float | None = None, at_once: bool = False) -> int:
        """Take in one level and return what is shown."""
        self.at_ms += self.step_ms
        levels = np.array([level], np.float32)
        shown = self.bands.move(
            np.array([0]),
            levels,
            np.maximum(levels, np.float32(clear or 0)),
            np.array([at_once]),
            np.array([self.at_ms]),
        )
        self.bands.level[:1] = levels
        return int(shown[0])

    def sees(self, *levels: float) -> list[int]:
        return [self.see(level) for level in levels]

    @property
    def held(self) -> int:
        return int(self.bands.held[0])


def test_the_first_band_is_green_with_the_first_sample() -> None:
    assert Member().sees(49.9) == [49]


@pytest.mark.parametrize(("second", "shown"), [(60, 60), (95, 89), (20, 20)])
def test_any_other_first_band_needs_two_samples(second: float, shown: int) -> None:
    assert Member().sees(70, second) == [-1, shown]


def test_a_band_is_raised_by_the_second_sample_in_a_row() -> None:
    member = Member()
    assert member.sees(10, 70, 10, 70, 75, 80) == [10, 49, 10, 49, 75, 80]


def test_a_band_is_raised_as_far_as_both_samples_reach() -> None:
    assert Member().sees(10, 95, 60, 95, 95) == [10, 49, 60, 89, 95]


def test_thresholds_belong_to_the_worse_band() -> None:
    member = Member()
    assert member.sees(50, 50, 90, 90) == [-1, 50, 89, 90]


def test_what_is_red_at_once_needs_no_second_sample() -> None:
    member = Member()
    assert member.sees(10) == [10]
    assert member.see(100, at_once=True) == 100


def test_a_band_is_cleared_after_5_s_more_than_5_points_below() -> None:
    member = Member()
    member.sees(60, 60)
    assert member.sees(44.9, 44, 44, 44, 44) == [50] * 5
    assert member.see(43) == 43


def test_5_points_below_are_not_enough() -> None:
    member = Member()
    member.sees(60, 60)
    assert member.sees(*[45] * 30) == [50] * 30


def test_every_higher_level_starts_the_5_s_again() -> None:
    member = Member()
    member.sees(60, 60)
    assert member.sees(*[40, 40, 40, 40, 46] * 6) == [50] * 30


def test_red_clears_to_orange_and_within_the_band_the_number_follows_at_once() -> None:
    member = Member()
    member.sees(95, 95)
    assert member.sees(70, 60, 84, 70, 70, 71, 88, 50) == [90, 90, 90, 90, 90, 71, 88, 50]


def test_red_clears_to_green_in_one_go() -> None:
    member = Member()
    member.sees(95, 95)
    assert member.sees(10, 10, 10, 10, 10, 10) == [90, 90, 90, 90, 90, 10]


def test_slow_targets_clear_with_the_second_low_sample() -> None:
    member = Member(step_ms=60_000)
    member.sees(60, 60)
    assert member.sees(10, 10) == [50, 10]


def test_a_cleared_band_may_be_raised_again_and_has_to_wait_again() -> None:
    member = Member()
    member.sees(60, 60, 10, 10, 10, 10, 10, 10)
    assert member.held == GREEN
    assert member.sees(60, 60, 10, 10, 10, 10, 10) == [49, 60, 50, 50, 50, 50, 50]
    assert member.see(10) == 10


def test_a_band_is_held_by_the_level_to_clear_by() -> None:
    member = Member()
    member.sees(60, 60)
    assert [member.see(10, clear=55) for _ in range(20)] == [50] * 20
    assert member.held == ORANGE
    assert [member.see(10, clear=44) for _ in range(6)] == [50] * 5 + [10]


def test_a_higher_level_to_clear_by_raises_nothing() -> None:
    member = Member()
    assert [member.see(10, clear=95) for _ in range(5)] == [10] * 5
    assert member.held == GREEN


def test_cleared_members_have_no_band() -> None:
    member = Member()
    member.sees(95, 95)
    member.bands.clear(np.array([0]))
    assert member.held == NO_BAND
    assert member.sees(95, 95) == [-1, 95]
    assert member.held == RED


def test_bands_are_copied_with_all_they_remember() -> None:
    one, other = Member(), Member()
    one.sees(60, 60, 10, 10, 10)
    other.bands.copy(np.array([0]), one.bands, np.array([0]))
    other.at_ms = one.at_ms
    assert other.sees(10, 10, 10) == one.sees(10, 10, 10)

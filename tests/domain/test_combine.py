"""The levels of targets become that of their group."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.combine import combine, rank_of
from espfleet.domain.groups import Combine
from espfleet.domain.states import band_of
from espfleet.domain.unknowns import UNKNOWN


def one(levels: list[int], rule: Combine = Combine.WORST, quorum: int = 1) -> tuple[int, int]:
    """Return level and deciding position of one group."""
    count = len(levels)
    level, decider = combine(np.array(levels), np.array([count]), np.array([rank_of(rule, quorum, count)]))
    return int(level[0]), int(decider[0])


def test_the_worst_target_decides() -> None:
    assert one([10, 70, 30]) == (70, 1)


def test_of_equal_targets_the_first_decides() -> None:
    assert one([10, 70, 70]) == (70, 1)


@pytest.mark.parametrize(("levels", "level"), [([5], 5), ([5, 60], 60), ([5, 60, 95], 60), ([5, 6, 60, 95], 60)])
def test_the_median_target_decides_and_the_worse_of_two(levels: list[int], level: int) -> None:
    assert one(levels, Combine.MEDIAN)[0] == level


@pytest.mark.parametrize(("quorum", "level"), [(1, 95), (2, 60), (3, 6), (4, 5), (9, 5)])
def test_a_quorum_must_reach_the_level(quorum: int, level: int) -> None:
    assert one([5, 6, 60, 95], Combine.QUORUM, quorum)[0] == level


def test_orange_is_shown_whatever_the_unknown_ones_are() -> None:
    assert one([10, UNKNOWN, 60]) == (60, 2)


def test_green_is_not_shown_while_an_unknown_one_might_be_red() -> None:
    assert one([10, UNKNOWN, 20, UNKNOWN]) == (UNKNOWN, 1)


def test_green_is_shown_where_the_unknown_ones_make_no_difference() -> None:
    assert one([10, UNKNOWN, 20], Combine.MEDIAN) == (10, 0)
    assert one([10, UNKNOWN, 20], Combine.QUORUM, 2) == (10, 0)


def test_a_group_of_unknown_ones_is_unknown() -> None:
    assert one([UNKNOWN, UNKNOWN], Combine.QUORUM, 2) == (UNKNOWN, 0)


LEVELS = st.lists(st.one_of(st.just(UNKNOWN), st.integers(0, 100)), min_size=1, max_size=8)


@given(st.lists(st.tuples(LEVELS, st.sampled_from(Combine), st.integers(1, 5)), min_size=1, max_size=8))
def test_many_groups_at_once_are_each_what_sorting_gives(groups: list[tuple[list[int], Combine, int]]) -> None:
    counts = np.array([len(levels) for levels, _, _ in groups])
    ranks = np.array([rank_of(rule, quorum, len(levels)) for levels, rule, quorum in groups])
    every = np.array([level for levels, _, _ in groups for level in levels])
    got, deciders = combine(every, counts, ranks)
    for number, (levels, _, _) in enumerate(groups):
        best = sorted((max(level, 0) for level in levels), reverse=True)[ranks[number] - 1]
        worst = sorted((level if level >= 0 else 100 for level in levels), reverse=True)[ranks[number] - 1]
        known = best >= 50 or band_of(best) is band_of(worst)
        assert got[number] == (best if known else UNKNOWN)
        first = int(counts[:number].sum())
        assert first <= deciders[number] < first + len(levels)
        assert max(every[deciders[number]], 0) == (best if known else 0)
        assert known or every[deciders[number]] == UNKNOWN

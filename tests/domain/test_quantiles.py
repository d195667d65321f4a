"""Long windows and their quantiles."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espfleet.domain.quantiles import BIN_ERROR, CENTRE_MS, EMPTY_CODE, LOST_CODE, LongWindows, encode, grown
from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED


def code_of(rtt_us: float) -> int:
    return int(encode(np.array([rtt_us], np.float32))[0])


@given(st.floats(8, 16e6, width=32))
def test_a_bin_is_off_by_no_more_than_it_says(rtt_us: float) -> None:
    centre_us = 1_000 * float(CENTRE_MS[code_of(rtt_us)])
    assert abs(centre_us - rtt_us) <= BIN_ERROR * rtt_us * 1.001
    assert BIN_ERROR < 0.032


@given(st.floats(0, 2.0**90, width=32), st.floats(0, 2.0**90, width=32))
def test_a_later_answer_is_never_in_an_earlier_bin(one_us: float, other_us: float) -> None:
    early, late = sorted((one_us, other_us))
    assert 1 <= code_of(early) <= code_of(late) <= 254


@pytest.mark.parametrize("lost", [LOST, UNREACHABLE, UNRESOLVED, math.inf, -math.inf, -7.0, -math.nan])
def test_what_is_lost_has_the_code_of_lost(lost: float) -> None:
    assert code_of(lost) == LOST_CODE


@pytest.mark.parametrize("nothing", [NOT_MEASURED, -0.5, -1.99])
def test_what_was_not_measured_has_the_code_of_nothing(nothing: float) -> None:
    assert code_of(nothing) == EMPTY_CODE


@pytest.mark.parametrize("at_once", [0.0, -0.0, 1e-40, 7.9])
def test_the_fastest_answers_share_the_first_bin(at_once: float) -> None:
    assert code_of(at_once) == 1


CODES = st.one_of(st.just(LOST_CODE), st.integers(1, 254), st.sampled_from([1, 100, 101, 254]))


@settings(deadline=None)
@given(
    st.sampled_from([(6, 2), (20, 19), (300, 7)]),
    st.lists(st.tuples(CODES, CODES, CODES, st.sampled_from([0b111, 0b111, 0b101, 0b010])), max_size=120),
)
def test_windows_hold_what_sorting_all_samples_gives(
    sizes: tuple[int, int], story: list[tuple[int, int, int, int]]
) -> None:
    samples, tail = sizes
    windows = LongWindows(samples, tail)
    windows.resize(3)
    windows.clear(np.arange(3))
    taken: list[list[int]] = [[], [], []]
    for *codes, which in story:
        rows = np.array([row for row in range(3) if which >> row & 1])
        place = np.array([len(taken[row]) % samples for row in rows])
        for row in rows:
            taken[row].append(codes[row])
        seen = windows.push(rows, place, np.array(codes, np.uint8)[rows])
        for at, row in enumerate(rows):
            window = taken[row][-samples:]
            answers = sorted(code for code in window if code)
            middle = (len(window) - 1) // 2
            assert seen.filled[at] == len(window)
            assert seen.lost[at] == taken[row][-tail:].count(LOST_CODE)
            if answers:
                assert seen.baseline_ms[at] == CENTRE_MS[answers[(len(answers) - 1) // 5]]
                assert seen.answered_ms[at] == CENTRE_MS[answers[min(middle, len(answers) - 1)]]
            assert seen.median_ms[at] == (CENTRE_MS[answers[middle]] if middle < len(answers) else np.inf)


def test_a_cleared_row_starts_again_and_the_others_stay() -> None:
    windows = LongWindows(10, 5)
    windows.resize(2)
    windows.clear(np.arange(2))
    for place in range(7):
        windows.push(np.arange(2), np.array([place, place]), np.array([50, LOST_CODE], np.uint8))
    windows.clear(np.array([1]))
    seen = windows.push(np.arange(2), np.array([7, 0]), np.array([50, 60], np.uint8))
    assert seen.filled.tolist() == [8, 1]
    assert seen.lost.tolist() == [0, 0]
    assert seen.median_ms.tolist() == CENTRE_MS[[50, 60]].tolist()


def test_counts_of_long_windows_do_not_overflow() -> None:
    windows = LongWindows(1_000, 500)
    windows.resize(1)
    windows.clear(np.arange(1))
    for number in range(1_700):
        seen = windows.push(np.arange(1), np.array([number % 1_000]), np.array([7], np.uint8))
    assert (seen.filled[0], seen.lost[0], seen.median_ms[0]) == (1_000, 0, CENTRE_MS[7])


def test_growing_keeps_what_is_there() -> None:
    assert grown(np.array([[1, 2]]), 3).tolist() == [[1, 2, 0]]
    assert grown(np.array([[1, 2]]), 2, 0).tolist() == [[1, 2], [0, 0]]

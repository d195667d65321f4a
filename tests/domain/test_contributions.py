"""From values to levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.contributions import (
    Kind,
    calm_levels,
    contributions,
    deciding,
    hot_levels,
    jump_of,
    levels_of,
    marks_of,
    red_at_once,
)
from espfleet.domain.groups import PRESETS

ROUGHLY = 1e-4


def marks(preset: str) -> np.ndarray:
    return np.array(marks_of(PRESETS[preset]), np.float32)[:, None]


def levels(
    preset: str, *, loss: float = 0, now: float = 0, usual: float = 0, jitter: float = 0, base: float = 0
) -> list:
    values = np.array([[loss], [now], [usual], [jitter], [base or now]], np.float32)
    return contributions(values, marks(preset))[:, 0].tolist()


@given(st.floats(0, 1e6, width=32), st.floats(2**-6, 1e4, width=32), st.floats(1.0625, 100, width=32))
def test_levels_rise_from_0_through_orange_50_and_red_90_to_100(value: float, orange: float, times: float) -> None:
    red = float(np.float32(orange * times))
    got = levels_of(*(np.array([each], np.float32) for each in (value, orange, red)))[0]
    assert got == pytest.approx(np.interp(value, [0, orange, red, 1.5 * red], [0, 50, 90, 100]), abs=0.01)


@given(st.floats(2**-6, 1e4, width=32), st.floats(1.0625, 100, width=32))
def test_thresholds_are_met_exactly(orange: float, times: float) -> None:
    pair = np.array([orange, orange * times], np.float32)
    assert levels_of(pair, pair[[0, 0]], pair[[1, 1]]).tolist() == [50, 90]


@pytest.mark.parametrize("kind", [Kind.LOSS, Kind.NOW, Kind.USUAL])
def test_what_is_infinite_has_level_100(kind: Kind) -> None:
    got = levels("broadband", **{kind.name.lower(): math.inf}, **({} if kind is Kind.NOW else {"now": 1}), base=1)
    assert got[kind] == 100


def test_each_kind_has_its_own_thresholds() -> None:
    got = levels("broadband", loss=2, now=150, usual=50, jitter=40, base=150)
    assert got == pytest.approx([50, 90, 50, 90, 0], abs=ROUGHLY)


def test_what_a_preset_leaves_out_stays_0() -> None:
    assert levels("pinglamp", now=math.inf, jitter=1e6, base=1)[Kind.JITTER :] == pytest.approx([0, 0], abs=ROUGHLY)


@pytest.mark.parametrize(
    ("now_ms", "base_ms", "level"),
    [
        (10, 10, 0),
        (9, 10, 0),
        # Broadband: 2.5 times and 15 ms.
        (25, 10, 50),
        (24.9, 10, 49.67),
        (4, 1, 10),
        (16, 1, 50),
        (100, 40, 50),
        (200, 40, 90),
        (280, 40, 100),
    ],
)
def test_a_jump_needs_both_the_factor_and_the_milliseconds(now_ms: float, base_ms: float, level: float) -> None:
    assert levels("broadband", now=now_ms, base=base_ms)[Kind.JUMP] == pytest.approx(level, abs=0.01)


def test_a_lan_going_from_1_to_8_ms_shows() -> None:
    assert levels("lan", now=8, base=1)[Kind.JUMP] >= 90


@given(st.floats(2**-6, 1_000, width=32), st.floats(2**-6, 1_000, width=32), st.sampled_from(sorted(PRESETS)))
def test_a_jump_is_orange_where_the_words_say_so(now_ms: float, base_ms: float, preset: str) -> None:
    limits = PRESETS[preset]
    if limits.jump_orange is None:
        return
    margins = (now_ms / base_ms / limits.jump_orange - 1, (now_ms - base_ms) / limits.jump_ms - 1)
    if min(abs(margin) for margin in margins) > 0.001:
        assert (levels(preset, now=now_ms, base=base_ms)[Kind.JUMP] >= 50) == (min(margins) > 0)


def test_a_jump_from_a_tiny_baseline_is_no_division_by_nothing() -> None:
    tiny = np.zeros(1, np.float32)
    assert np.isfinite(jump_of(tiny + 5, tiny, tiny + np.float32(1e-3)))


VALUES = st.one_of(st.floats(0, 2_000, width=32), st.just(math.inf))


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES, st.floats(0, 500, width=32), st.floats(0, 900, width=32)), min_size=1)
)
def test_the_short_ways_give_what_all_contributions_give(columns: list[tuple[float, ...]]) -> None:
    values = np.array(columns, np.float32).T
    many = np.concatenate([marks(preset) for preset in PRESETS], axis=1)
    for group in range(len(PRESETS)):
        groups = np.full(len(columns), group)
        expected = contributions(values.copy(), many[:, groups]).max(axis=0)
        used = values.copy()
        calm = calm_levels(used, many, groups).max(axis=0)
        highest, clear, _ = hot_levels(used, values[Kind.LOSS] + 1, many, groups)
        below = expected < 50
        np.testing.assert_array_equal(calm[below], expected[below])
        assert (calm[~below] >= 50).all()
        np.testing.assert_array_equal(highest, expected)
        assert (clear >= highest).all()


def test_usual_latency_decides_only_where_it_is_clearly_higher() -> None:
    levels = np.array([[0, 0, 0], [50, 50, 0], [51.9, 52.1, 0], [50, 0, 0], [0, 0, 0]], np.float32)
    assert deciding(levels).tolist() == [Kind.NOW, Kind.USUAL, Kind.LOSS]


def test_one_sample_is_red_at_once_only_where_a_group_says_so() -> None:
    many = np.concatenate([marks("broadband"), marks("pinglamp")], axis=1)
    last_us = np.array([39_999, 40_000, 1e9, np.nan, -2], np.float32)
    assert red_at_once(last_us, many, np.ones(5, int)).tolist() == [False, True, True, False, False]
    assert not red_at_once(last_us, many, np.zeros(5, int)).any()

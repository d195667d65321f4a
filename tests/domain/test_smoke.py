"""Points say what their samples say: nothing lost, nothing made up."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE
from espfleet.domain.smoke import condense, measured, points

rtts = st.one_of(st.floats(1.0, 1e7, width=32), st.sampled_from([LOST, UNREACHABLE]))


@given(st.lists(st.tuples(st.integers(0, 5), rtts), max_size=60))
def test_points_equal_a_plain_count(samples: list[tuple[int, float]]) -> None:
    keys, table = condense(
        np.array([key for key, _ in samples], np.int64), np.array([rtt for _, rtt in samples], np.float32)
    )
    found = {point.at_ms: point for point in points(keys, table)}
    assert found.keys() == {key for key, _ in samples}
    for key, point in found.items():
        mine = [rtt for other, rtt in samples if other == key]
        answered = sorted(rtt / 1_000 for rtt in mine if not math.isnan(rtt) and rtt >= 0)
        assert (point.count, point.lost) == (len(mine), len(mine) - len(answered))
        if answered:
            assert point.least_ms == pytest.approx(answered[0], rel=1e-3, abs=2e-3)
            assert point.most_ms == pytest.approx(answered[-1], rel=1e-3, abs=2e-3)
            middle = answered[math.floor((len(answered) - 1) / 2 + 0.5)]
            assert point.median_ms == pytest.approx(middle, rel=1e-3, abs=2e-3)
            assert point.least_ms <= point.low_ms <= point.median_ms <= point.high_ms <= point.most_ms  # type: ignore[operator]
        else:
            assert point.median_ms is None


def test_what_was_not_measured_says_nothing() -> None:
    rtt_us = np.array([NOT_MEASURED, 5.0, LOST], np.float32)
    assert measured(rtt_us).tolist() == [False, True, True]

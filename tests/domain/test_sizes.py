"""How many samples windows hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.sizes import Sizes, sizes_of
from espfleet.domain.targets import INTERVAL_MS


@pytest.mark.parametrize(
    ("interval_ms", "sizes"),
    [
        (10, Sizes(short=300, long=18_000, loss=6_000, recent=1_200)),
        (1_000, Sizes(short=5, long=180, loss=60, recent=15)),
        (60_000, Sizes(short=5, long=60, loss=20, recent=5)),
    ],
)
def test_sizes_follow_from_the_interval(interval_ms: int, sizes: Sizes) -> None:
    assert sizes_of(interval_ms) == sizes


@given(st.integers(*INTERVAL_MS))
def test_windows_are_as_long_as_they_say_and_fit_into_each_other(interval_ms: int) -> None:
    sizes = sizes_of(interval_ms)
    assert sizes.short * interval_ms >= 3_000
    assert sizes.long * interval_ms >= 180_000
    assert sizes.loss * interval_ms >= 60_000
    assert sizes.recent * interval_ms > 10_000
    assert sizes.short >= 5
    assert sizes.loss < sizes.long <= 20_000
    assert sizes.recent % sizes.short == 0
    assert sizes.long % sizes.recent == 0

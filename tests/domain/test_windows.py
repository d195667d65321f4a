"""The windows of one block."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.domain.sizes import sizes_of
from espfleet.domain.unknowns import Why
from espfleet.domain.windows import NEVER, WindowBlock

LOSS, NOW, USUAL, JITTER, BASELINE = range(5)


def block(interval_ms: int = 1_000, timeout_ms: int = 1_000, rows: int = 1) -> WindowBlock:
    made = WindowBlock(sizes_of(interval_ms))
    assert made.add_rows([interval_ms] * rows, [timeout_ms] * rows).tolist() == list(range(rows))
    return made


def push(to: WindowBlock, rtt_ms: float, sent_ms: int) -> bool:
    """Add one sample, given in ms or as a code, to the first row; return whether it was taken."""
    rtt_us = rtt_ms * 1_000 if rtt_ms >= 0 else rtt_ms
    return len(to.push(np.array([0]), np.array([rtt_us], np.float32), np.array([sent_ms])).rows) == 1


def fill(to: WindowBlock, rtts_ms: list[float], begin_ms: int = 1_000) -> None:
    for number, rtt_ms in enumerate(rtts_ms):
        assert push(to, rtt_ms, begin_ms + 1_000 * number)


@pytest.mark.parametrize(
    ("rtts_ms", "now_ms"),
    [
        ([7], 7),
        ([7, 3], 3),
        ([7, 3, 9], 7),
        ([7, 3, 9, 1], 3),
        ([7, 3, 9, 1, 2], 3),
        ([7, 3, 9, 1, 2, 8], 3),
        ([1, 1, 1, 90, 1], 1),
        ([LOST], math.inf),
        ([7, LOST], 7),
        ([7, LOST, LOST], math.inf),
        ([7, 7, 7, LOST, UNREACHABLE], 7),
        ([7, 7, 7, LOST, UNREACHABLE, UNRESOLVED], math.inf),
    ],
)
def test_now_is_the_lower_median_of_the_last_five_with_lost_as_infinite(rtts_ms: list[float], now_ms: float) -> None:
    windows = block()
    fill(windows, rtts_ms)
    assert windows.values[NOW, 0] == now_ms


@given(st.lists(st.one_of(st.just(LOST), st.integers(0, 9)), min_size=1, max_size=40))
def test_now_is_the_lower_median_of_windows_of_any_length(rtts_ms: list[float]) -> None:
    for interval_ms in (100, 300, 430, 600):
        windows = block(interval_ms)
        fill(windows, rtts_ms)
        last = sorted(math.inf if math.isnan(rtt) else rtt for rtt in rtts_ms[-sizes_of(interval_ms).short :])
        assert windows.values[NOW, 0] == last[(len(last) - 1) // 2]


def test_usual_and_baseline_come_from_the_long_window() -> None:
    windows = block()
    fill(windows, [10.0] * 80 + [40.0] * 100)
    assert windows.values[USUAL, 0] == pytest.approx(40, rel=0.032)
    assert windows.values[BASELINE, 0] == pytest.approx(10, rel=0.032)
    assert windows.values[NOW, 0] == 40


def test_one_spike_moves_the_jitter_little() -> None:
    calm, spiked, restless = block(), block(), block()
    fill(calm, [20.0, 21.0] * 60)
    fill(spiked, [20.0, 21.0] * 59 + [20.0, 900.0])
    fill(restless, [20.0, 60.0] * 60)
    assert calm.values[JITTER, 0] == pytest.approx(1, rel=0.05)
    assert spiked.values[JITTER, 0] < 1.5
    assert restless.values[JITTER, 0] == pytest.approx(40, rel=0.05)


def test_jitter_is_that_of_neighbouring_answers() -> None:
    with_gaps, without = block(), block()
    fill(with_gaps, [20.0, LOST, 25.0, UNREACHABLE, 20.0] * 10)
    fill(without, [20.0, 25.0, 20.0] * 10)
    assert with_gaps.values[JITTER, 0] == pytest.approx(without.values[JITTER, 0], rel=0.05)


@pytest.mark.parametrize(
    ("lost", "bound", "observed"), [(0, 0, 0), (1, 0, 1.667), (2, 0.269, 3.333), (4, 2.333, 6.667), (9, 8.5, 15)]
)
def test_loss_is_bounded_from_below(lost: int, bound: float, observed: float) -> None:
    windows = block()
    rtts_ms = [5.0] * 70
    for number in range(lost):
        rtts_ms[20 + 5 * number] = LOST
    fill(windows, rtts_ms)
    assert windows.values[LOSS, 0] == pytest.approx(bound, abs=0.001)
    assert windows.lost_percent(np.array([0]))[0] == pytest.approx(observed, abs=0.001)


def test_losses_leave_the_minute() -> None:
    windows = block()
    fill(windows, [LOST, 1.0, LOST, 1.0, LOST, 1.0, LOST, 1.0] + [1.0] * 53)
    assert windows.lost_percent(np.array([0]))[0] == pytest.approx(100 * 3 / 60)
    fill(windows, [1.0] * 6, 100_000)
    assert windows.lost_percent(np.array([0]))[0] == 0


def test_five_losses_in_a_row_are_an_outage_and_one_answer_ends_it() -> None:
    windows = block()
    fill(windows, [5.0] * 50 + [LOST, UNREACHABLE, LOST, LOST])
    assert not windows.outage[0]
    push(windows, LOST, 100_000)
    assert windows.outage[0]
    assert windows.values[LOSS, 0] == math.inf
    push(windows, 5.0, 101_000)
    assert not windows.outage[0]


def test_a_name_without_address_is_an_outage_at_once() -> None:
    windows = block()
    push(windows, UNRESOLVED, 1_000)
    assert windows.outage[0]


def test_what_was_not_measured_changes_nothing() -> None:
    windows, same = block(), block()
    fill(windows, [5.0, LOST, 6.0])
    fill(same, [5.0, LOST, 6.0])
    assert not push(windows, NOT_MEASURED, 4_000)
    for name in ("values", "newest_ms", "streak", "last_us", "known"):
        np.testing.assert_array_equal(getattr(windows, name)[..., 0], getattr(same, name)[..., 0])
    assert windows.unmeasured_ms[0] == 4_000


def test_a_sample_is_taken_once() -> None:
    windows = block()
    assert push(windows, 5.0, 10_000)
    assert not push(windows, 5.0, 10_000)
    assert push(windows, 5.0, 11_000)
    assert not push(windows, 5.0, 10_000)
    assert windows.dropped == 2
    assert windows.long.filled[0] == 2


def test_a_loss_known_only_after_later_answers_still_counts() -> None:
    windows = block(interval_ms=10, timeout_ms=1_000)
    for sent_ms in range(1_000, 2_000, 10):
        if sent_ms != 1_500:
            assert push(windows, 5.0, sent_ms)
    assert push(windows, LOST, 1_500)
    assert windows.long.lost[0] == 1
    assert not push(windows, LOST, 1_500)


def test_a_sample_older_than_any_timeout_allows_is_dropped() -> None:
    windows = block(interval_ms=1_000, timeout_ms=500)
    push(windows, 5.0, 100_000)
    assert not push(windows, 5.0, 97_500)
    assert push(windows, 5.0, 97_501)


def test_a_gap_longer_than_the_long_window_clears_it() -> None:
    windows = block()
    fill(windows, [5.0] * 20)
    assert push(windows, 7.0, 20_000 + 180_000)
    assert windows.long.filled[0] == 21
    assert push(windows, 9.0, 20_000 + 360_001)
    assert windows.long.filled[0] == 1
    assert windows.values[NOW, 0] == 9
    assert windows.values[JITTER, 0] == 0


def test_slow_targets_have_a_longer_long_window() -> None:
    windows = block(interval_ms=60_000)
    push(windows, 5.0, 0)
    push(windows, 5.0, 3_600_000)
    assert windows.long.filled[0] == 2
    push(windows, 5.0, 7_200_001)
    assert windows.long.filled[0] == 1


def test_a_row_falls_silent_after_three_intervals_and_the_timeout_and_once() -> None:
    windows = block(interval_ms=1_000, timeout_ms=700)
    push(windows, 5.0, 10_000)
    assert windows.fall_silent(13_700).tolist() == []
    assert windows.fall_silent(13_701).tolist() == [0]
    assert windows.fall_silent(13_702).tolist() == []
    assert windows.why_unknown(np.array([0]))[0] == Why.SILENT
    push(windows, 5.0, 14_000)
    assert windows.known[0]


def test_samples_from_the_future_do_not_block_the_row() -> None:
    windows = block()
    push(windows, 5.0, 1_000_000)
    assert windows.fall_silent(995_000).tolist() == []
    assert windows.fall_silent(994_999).tolist() == [0]
    assert windows.newest_ms[0] == NEVER
    assert windows.why_unknown(np.array([0]))[0] == Why.AHEAD
    assert push(windows, 5.0, 995_000)


def test_what_fell_silent_while_the_clock_was_ahead_is_heard_when_it_is_right_again() -> None:
    windows = block()
    push(windows, 5.0, 1_000_000)
    assert windows.fall_silent(1_005_000).tolist() == [0]
    assert windows.fall_silent(1_005_000).tolist() == [], "each once"
    assert windows.fall_silent(100_000).tolist() == [0]
    assert push(windows, 5.0, 100_000)
    assert windows.known[0]


def test_why_nothing_is_known() -> None:
    windows = block()
    row = np.array([0])
    assert windows.why_unknown(row)[0] == Why.NONE_YET
    push(windows, NOT_MEASURED, 1_000)
    assert windows.why_unknown(row)[0] == Why.UNMEASURED
    push(windows, 5.0, 2_000)
    windows.fall_silent(10_000)
    assert windows.why_unknown(row)[0] == Why.SILENT
    push(windows, NOT_MEASURED, 3_000)
    assert windows.why_unknown(row)[0] == Why.UNMEASURED


def test_rows_come_and_go_and_the_others_keep_their_windows() -> None:
    windows = block(rows=3)
    samples = np.array([1_000, 2_000, 3_000], np.float32)
    windows.push(np.arange(3), samples, np.array([1_000] * 3))
    windows.remove_rows(np.array([1]))
    added = windows.add_rows([1_000] * 40, [1_000] * 40)
    assert len(set(added.tolist()) | {0, 2}) == 42
    assert windows.values[NOW, [0, 2]].tolist() == [1, 3]
    assert (windows.long.filled[added] == 0).all()
    windows.push(added, np.full(40, 9_000, np.float32), np.full(40, 500))
    assert (windows.values[NOW, added] == 9).all()
    assert windows.values[NOW, [0, 2]].tolist() == [1, 3]

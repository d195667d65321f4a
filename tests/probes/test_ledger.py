from __future__ import annotations

import math

import numpy as np
import pytest

from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE
from espfleet.probes.ledger import Ledger
from espfleet.probes.outcomes import Counters

MS = 1_000_000
NEVER = -(2**62)


def a_ledger(slots: int = 4, timeouts_ms: list[int] | None = None, interval_ms: int = 100) -> Ledger:
    timeouts = np.array(timeouts_ms or [150] * slots, np.int64) * MS
    return Ledger(interval_ms * MS, timeouts, Counters())


def send_round(ledger: Ledger, number: int, at_ms: int) -> None:
    """Send a whole round; both clocks read the same."""
    ledger.begin(number, at_ms * MS, 25 * MS)
    ledger.sent(ledger.slots, at_ms * MS, at_ms * MS, at_ms * MS)


def answer(ledger: Ledger, positions: list[int], came_ms: list[float]) -> None:
    ledger.answer(np.array(positions), (np.array(came_ms) * MS).astype(np.int64))


def taken(ledger: Ledger) -> list[tuple[int, list[int], list[float]]]:
    return [(found.number, found.slots.tolist(), found.rtt_us.tolist()) for found in ledger.take()]


def test_an_answer_becomes_a_sample_in_microseconds() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    answer(ledger, [2, 0], [1_010, 1_020.5])
    (found,) = ledger.take()
    assert (found.number, found.at_ns, found.step_ns) == (0, 1_000 * MS, 25 * MS)
    assert found.slots.tolist() == [0, 2]
    assert found.rtt_us.tolist() == [20_500, 10_000]
    assert (found.slots.dtype, found.rtt_us.dtype) == (np.int32, np.float32)
    assert ledger.outstanding == 2
    assert ledger.take() == []


def test_the_kernels_send_stamp_replaces_the_clock_of_the_process() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    ledger.stamp(np.array([1]), np.array([1_002 * MS]))
    answer(ledger, [0, 1], [1_010, 1_010])
    assert taken(ledger) == [(0, [0, 1], [10_000, 8_000])]
    assert ledger.counters.unstamped == 1


def test_what_is_not_answered_in_time_is_lost() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    answer(ledger, [3], [1_001])
    ledger.take()
    assert len(ledger.expire(1_149 * MS, NEVER)) == 0
    assert ledger.expire(1_150 * MS, NEVER).tolist() == [0, 1, 2]
    ((number, slots, values),) = taken(ledger)
    assert (number, slots) == (0, [0, 1, 2])
    assert all(map(math.isnan, values))
    assert (ledger.counters.lost, ledger.outstanding) == (3, 0)


def test_each_target_has_its_own_time_out() -> None:
    ledger = a_ledger(timeouts_ms=[50, 1_000, 50, 300])
    send_round(ledger, 0, 1_000)
    assert ledger.next_expiry_ns() == 1_050 * MS
    assert ledger.expire(1_060 * MS, NEVER).tolist() == [0, 2]
    assert ledger.next_expiry_ns() == 1_300 * MS
    send_round(ledger, 1, 1_100)
    assert ledger.expire(1_320 * MS, NEVER).tolist() == [3, 4, 6]
    assert ledger.expire(2_000 * MS, NEVER).tolist() == [1, 7]
    assert ledger.next_expiry_ns() == 2_100 * MS


def test_a_time_out_may_be_many_intervals_long() -> None:
    ledger = a_ledger(timeouts_ms=[1_000] * 4)
    for number in range(10):
        send_round(ledger, number, 1_000 + 100 * number)
        assert len(ledger.expire(1_000 * MS + 100 * number * MS, NEVER)) == 0
    answer(ledger, [1], [1_999])
    assert taken(ledger) == [(0, [1], [999_000])]
    assert ledger.expire(2_000 * MS, NEVER).tolist() == [0, 2, 3]


def test_a_ring_that_has_turned_many_times_still_tells_rounds_apart() -> None:
    ledger = a_ledger()
    for number in range(50):
        send_round(ledger, number, 1_000 + 100 * number)
        answer(ledger, [4 * number + 1, 4 * number + 2], [1_000 + 100 * number + 7] * 2)
        assert (number, [1, 2], [7_000, 7_000]) in taken(ledger)
        ledger.expire((1_000 + 100 * number) * MS, NEVER)
    assert ledger.counters.received == 100
    assert ledger.counters.lost == 2 * 48


def test_the_first_of_several_answers_counts() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    answer(ledger, [1, 1, 2, 1], [1_005, 1_005, 1_006, 1_009])
    answer(ledger, [2], [1_010])
    assert taken(ledger) == [(0, [1, 2], [5_000, 6_000])]
    assert (ledger.counters.received, ledger.counters.duplicate) == (2, 3)


def test_an_answer_after_its_time_out_is_late_and_changes_nothing() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    ledger.expire(1_200 * MS, NEVER)
    ledger.take()
    answer(ledger, [1], [1_201])
    assert taken(ledger) == []
    assert (ledger.counters.late, ledger.counters.lost) == (1, 4)


def test_an_answer_that_took_too_long_is_lost_even_if_it_is_read_before_the_time_out() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    answer(ledger, [1], [1_151])
    ((_, slots, values),) = taken(ledger)
    assert slots == [1]
    assert math.isnan(values[0])
    assert (ledger.counters.late, ledger.counters.lost, ledger.counters.received) == (1, 1, 0)


def test_an_answer_of_a_round_long_gone_is_late_and_one_of_the_future_is_spoofed() -> None:
    ledger = a_ledger()
    for number in range(20):
        send_round(ledger, number, 1_000 + 100 * number)
    answer(ledger, [1, 10_000_000_000], [3_000, 3_000])
    assert (ledger.counters.late, ledger.counters.spoofed) == (1, 1)
    assert taken(ledger) == []


def test_stamps_the_wrong_way_round_say_nothing_and_tiny_ones_are_no_code() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    answer(ledger, [0, 1], [999, 999.99999])
    ((_, _, values),) = taken(ledger)
    assert values == [NOT_MEASURED, pytest.approx(0.1)]


def test_a_set_clock_voids_what_waits() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    send_round(ledger, 1, 1_100)
    answer(ledger, [0], [1_010])
    ledger.void()
    answer(ledger, [1, 5], [1_510, 1_610])
    found = ledger.take()
    assert [part.rtt_us.tolist() for part in found] == [[10_000, -1, -1, -1], [-1, -1, -1, -1]]
    assert [part.at_ns for part in found] == [1_000 * MS, 1_100 * MS]
    assert ledger.counters.voided_rounds == 2
    assert ledger.counters.late == 0
    assert ledger.outstanding == 0


def test_what_waited_while_this_machine_dropped_answers_is_not_called_lost() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    send_round(ledger, 1, 1_100)
    ledger.expire(1_300 * MS, dropped_ns=1_050 * MS)
    first, second = ledger.take()
    assert first.rtt_us.tolist() == [NOT_MEASURED] * 4
    assert np.isnan(second.rtt_us).all()
    assert (ledger.counters.not_measured, ledger.counters.lost) == (4, 4)


def test_unreachable_is_known_before_the_time_out() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    send_round(ledger, 1, 1_100)
    ledger.unreachable(2, 0)
    ledger.unreachable(2, None)
    ledger.unreachable(2, None)
    ledger.unreachable(3, 77)
    assert taken(ledger) == [(0, [2], [UNREACHABLE]), (1, [2], [UNREACHABLE])]
    assert ledger.counters.unreachable == 2


def test_a_slot_that_is_forgotten_is_not_measured() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    send_round(ledger, 1, 1_100)
    ledger.forget(3)
    assert taken(ledger) == [(0, [3], [NOT_MEASURED]), (1, [3], [NOT_MEASURED])]


def test_decided_positions_need_no_answer() -> None:
    ledger = a_ledger()
    ledger.begin(0, 1_000 * MS, 25 * MS)
    ledger.sent(1, 1_000 * MS, 1_000 * MS, 1_000 * MS)
    ledger.decide(np.array([UNREACHABLE, 7.0], np.float32), 1_000 * MS)
    ledger.sent(1, 1_000 * MS, 1_000 * MS, 1_000 * MS)
    assert taken(ledger) == [(0, [1, 2], [UNREACHABLE, 7.0])]
    assert ledger.outstanding == 2
    assert ledger.expire(2_000 * MS, NEVER).tolist() == [0, 3]


def test_a_jump_over_many_rounds_loses_nothing_that_waits() -> None:
    ledger = a_ledger()
    send_round(ledger, 0, 1_000)
    ledger.jump(4_000, 1_100 * MS)
    assert ledger.outstanding == 0
    assert [(number, values) for number, _, values in taken(ledger)] == [(0, [NOT_MEASURED] * 4)]
    send_round(ledger, 1_000, 1_100)
    assert ledger.expire(2_000 * MS, NEVER).tolist() == [4_000, 4_001, 4_002, 4_003]


def test_send_times_of_a_batch_are_spread_over_the_call() -> None:
    ledger = a_ledger()
    ledger.begin(0, 0, 0)
    ledger.sent(4, 1_000 * MS, 1_004 * MS, 1_000 * MS)
    answer(ledger, [0, 1, 2, 3], [1_010] * 4)
    assert taken(ledger) == [(0, [0, 1, 2, 3], [10_000, 9_000, 8_000, 7_000])]


def test_lost_is_not_a_number() -> None:
    assert math.isnan(LOST)

"""When the lamp tries again: as a simulated lamp does."""

from __future__ import annotations

import random

import pytest

from espfleet.domain.closing import CloseCode, restart_reason, retry_after_ms
from espfleet.simulator.backoff import Backoff, closed
from lamp import backoff


def highest(below: int) -> int:
    return below - 1


def lowest(_below: int) -> int:
    return 0


def test_waits_grow_with_what_was_waited_up_to_half_a_minute() -> None:
    waits = backoff.Backoff(highest)
    assert [waits.next_ms(None, None) for _ in range(9)] == [
        500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
    ]  # fmt: skip
    waits.reset()
    assert waits.next_ms(None, None) == 500


def test_a_lamp_that_drew_short_waits_so_far_does_not_draw_long_ones_at_once() -> None:
    waits = backoff.Backoff(lambda below: below // 10)
    assert [waits.next_ms(None, None) for _ in range(6)] == [50, 55, 60, 66, 73, 80]


@pytest.mark.parametrize("seed", range(5))
def test_it_waits_as_a_simulated_lamp_does_that_has_the_same_luck(seed: int) -> None:
    ours, theirs = random.Random(seed), random.Random(seed)
    lamp, simulated = backoff.Backoff(lambda below: ours.randint(0, below - 1)), Backoff(theirs)
    codes = [*[None] * 10, *[CloseCode.PROTOCOL] * 8, None, CloseCode.PROTOCOL, CloseCode.TOKEN, *[None] * 10]
    assert [lamp.next_ms(code, None) for code in codes] == [simulated.next_ms(closed(code, "")) for code in codes]


def test_a_whole_fleet_does_not_come_back_at_once() -> None:
    assert backoff.Backoff(lowest).next_ms(None, None) == 0


def test_a_lamp_that_was_not_understood_asks_again_soon_and_then_more_seldom() -> None:
    lamp = backoff.Backoff(highest)
    waits = [lamp.next_ms(CloseCode.PROTOCOL, None) for _ in range(7)]
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]


@pytest.mark.parametrize("code", [CloseCode.TOKEN, CloseCode.UNREGISTERED])
def test_a_refused_lamp_asks_again_all_the_same_but_seldom(code: int) -> None:
    assert backoff.Backoff(lowest).next_ms(code, None) == 30_000
    assert backoff.Backoff(highest).next_ms(code, None) == 60_000


def test_a_replaced_lamp_leaves_the_other_one_its_place_for_a_while() -> None:
    assert backoff.Backoff(lowest).next_ms(CloseCode.REPLACED, None) == 5_000


def test_a_gateway_that_asks_for_a_time_gets_it_within_reason() -> None:
    assert backoff.Backoff(highest).next_ms(CloseCode.RESTARTING, 1_234) == 1_234
    assert backoff.Backoff(highest).next_ms(CloseCode.RESTARTING, 10**9) == 600_000


@pytest.mark.parametrize(
    "reason", [restart_reason(2_500), "restarting; retry_after_ms=0", "bye", "retry_after_ms=", ""]
)
def test_the_time_is_read_as_the_fleet_reads_it(reason: str) -> None:
    assert backoff.retry_after_ms(reason) == retry_after_ms(reason)


@pytest.mark.parametrize("code", [1000, *CloseCode])
def test_a_close_is_told_in_the_words_of_a_simulated_lamp(code: int) -> None:
    for reason in ("", "because"):
        assert backoff.told(code, reason) == closed(code, reason).why

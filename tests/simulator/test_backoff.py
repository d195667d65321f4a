from __future__ import annotations

from random import Random

import pytest

from espfleet.domain.closing import CloseCode, restart_reason
from espfleet.simulator.backoff import LONGEST_MS, Backoff, Ending, closed

BROKEN = Ending(why="the connection broke")


def waits(ending: Ending, attempt: int, tries: int = 300) -> list[int]:
    """Return what lamps with other luck wait after the same attempt."""
    found = []
    for seed in range(tries):
        backoff = Backoff(Random(seed))
        for _ in range(attempt):
            backoff.next_ms(BROKEN)
        found.append(backoff.next_ms(ending))
    return found


def test_first_waits_are_spread_over_half_a_second() -> None:
    found = waits(BROKEN, 0)
    assert min(found) < 50
    assert 450 < max(found) <= 500
    assert 200 < sum(found) / len(found) < 300


def test_waits_grow_to_half_a_minute_and_stay_there() -> None:
    found = waits(BROKEN, 100)
    assert min(found) < 3_000
    assert 27_000 < max(found) <= 30_000
    assert 12_000 < sum(found) / len(found) < 18_000


@pytest.mark.parametrize("away_ms", [700, 5_500, 20_000])
def test_a_lamp_is_back_after_a_gap_no_later_than_the_gap_took(away_ms: int) -> None:
    for seed in range(500):
        backoff, at_ms = Backoff(Random(seed)), 0
        while at_ms < away_ms:
            at_ms += backoff.next_ms(BROKEN)
        assert at_ms <= 2 * away_ms + 500


def test_a_gateway_that_stays_away_is_asked_rarely() -> None:
    attempts = []
    for seed in range(200):
        backoff, at_ms, count = Backoff(Random(seed)), 0, 0
        while at_ms < 600_000:
            at_ms += backoff.next_ms(BROKEN)
            count += 1
        attempts.append(count)
    assert sum(attempts) / len(attempts) < 60, "more than six in a minute"


def test_a_welcome_makes_waits_short_again() -> None:
    backoff = Backoff(Random(1))
    for _ in range(20):
        backoff.next_ms(BROKEN)
    backoff.reset()
    assert backoff.next_ms(BROKEN) <= 500


@pytest.mark.parametrize(("asked_ms", "wait_ms"), [(0, 0), (1_234, 1_234), (999_999_999, LONGEST_MS)])
def test_a_restarting_gateway_says_when_to_come_back(asked_ms: int, wait_ms: int) -> None:
    ending = closed(CloseCode.RESTARTING, restart_reason(asked_ms))
    assert waits(ending, 5, tries=2) == [wait_ms, wait_ms]


def test_one_broken_message_does_not_keep_a_lamp_away_for_long() -> None:
    unreadable, backoff = closed(CloseCode.PROTOCOL, "the message is not JSON"), Backoff(Random(4))
    assert unreadable.refused
    for least_ms in (1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000):
        assert least_ms <= backoff.next_ms(unreadable) <= 2 * least_ms
    backoff.next_ms(BROKEN)
    assert backoff.next_ms(unreadable) <= 2_000


@pytest.mark.parametrize("code", [CloseCode.TOKEN, CloseCode.UNREGISTERED])
def test_what_only_a_person_can_change_is_asked_for_rarely_and_for_ever(code: CloseCode) -> None:
    ending = closed(code, "no")
    assert ending.refused
    for attempt in (0, 50):
        assert all(30_000 <= wait_ms <= 60_000 for wait_ms in waits(ending, attempt, tries=50))


def test_a_replaced_lamp_waits_so_that_two_with_one_id_do_not_take_turns() -> None:
    assert all(5_000 <= wait_ms <= 10_000 for wait_ms in waits(closed(CloseCode.REPLACED, ""), 0, tries=50))


@pytest.mark.parametrize(
    ("code", "reason", "why"),
    [
        (None, "", "the connection broke"),
        (1006, "", "the connection broke"),
        (4001, "wrong token", "the gateway does not accept the token (4001: wrong token)"),
        (4004, "", "the lamp is not registered (4004)"),
        (4999, "x", "the gateway closed the connection (4999: x)"),
        (1000, "", "the gateway closed the connection (1000)"),
    ],
)
def test_an_ending_says_why(code: int | None, reason: str, why: str) -> None:
    assert closed(code, reason).why == why


def test_only_a_refused_token_opens_the_lamp_for_another_one() -> None:
    told = {code: closed(code, "").token_refused for code in CloseCode}
    assert {code for code, refused in told.items() if refused} == {CloseCode.TOKEN, CloseCode.UNREGISTERED}

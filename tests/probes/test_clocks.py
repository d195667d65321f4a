from __future__ import annotations

from espfleet.probes.clocks import StepWatch
from tests.probes.hands import Hands


def test_a_clock_that_only_runs_has_made_no_step() -> None:
    hands = Hands()
    watch = StepWatch(hands.clocks)
    hands.pass_ns(3_600_000_000_000)
    assert watch.step_ns() == 0


def test_a_step_of_more_than_a_tenth_of_a_millisecond_is_noticed_once() -> None:
    hands = Hands()
    watch = StepWatch(hands.clocks)
    hands.realtime -= 150_000
    assert watch.step_ns() == -150_000
    assert watch.step_ns() == 0
    hands.realtime += 50_000
    assert watch.step_ns() == 0


def test_a_reading_that_was_interrupted_says_nothing() -> None:
    hands = Hands()
    watch = StepWatch(hands.clocks)
    hands.reading_ns = 1_000_000
    hands.realtime += 500_000
    assert watch.step_ns() == 0
    hands.reading_ns = 0
    assert watch.step_ns() == 500_000

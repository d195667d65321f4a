"""Recorded samples give the levels once more."""

from __future__ import annotations

import numpy as np

from espfleet.domain.groups import new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.replay import Recorded, replay
from espfleet.domain.samples import LOST
from espfleet.domain.states import State
from espfleet.domain.targets import Target

TARGETS = {name: Target(name=name, address="192.0.2.1") for name in ("a", "b")}


def recording(rtts_ms: list[float], begin_ms: int = 0) -> list[Recorded]:
    return [
        Recorded(name, begin_ms + 1_000 * number + 3 * at, rtt_ms * 1_000)
        for number, rtt_ms in enumerate(rtts_ms)
        for at, name in enumerate(TARGETS)
    ]


def test_a_replay_tells_every_change_in_its_time() -> None:
    changes = replay(recording([10] * 20 + [100] * 4), TARGETS, {"g": new_group("g", list(TARGETS))})
    assert [(level.at_ms, level.level) for level in changes] == [(25, 10), (22_025, 49), (23_025, 100)]
    assert changes[0].reason == "a: latency 10 ms"


def test_other_thresholds_give_other_levels() -> None:
    samples = recording([10] * 20)
    levels = {preset: replay(samples, TARGETS, {"g": new_group("g", ["a"], preset=preset)})[-1].level
              for preset in ("lan", "broadband", "satellite")}  # fmt: skip
    assert levels == {"lan": 63, "broadband": 10, "satellite": 0}


def test_a_silence_is_told_when_it_was_noticed() -> None:
    samples = recording([10] * 3) + recording([10] * 3, 60_000)
    changes = replay(samples, TARGETS, {"g": new_group("g", ["a", "b"])})
    assert [(level.at_ms, level.state) for level in changes] == [
        (25, State.OK),
        (6_025, State.UNKNOWN),
        (60_025, State.OK),
    ]


def test_a_replay_gives_what_the_book_gave() -> None:
    rng = np.random.default_rng(3)
    book = LevelBook()
    groups = {"g": new_group("g", ["a", "b"], preset="lan")}
    book.configure(TARGETS, groups)
    samples, live = [], []
    for number in range(500):
        rtts_us = rng.choice([900, 1_100, 1_300, 9_000, 30_000, LOST], 2, p=[0.3, 0.3, 0.2, 0.1, 0.05, 0.05])
        samples += [Recorded(name, 1_000 * number, rtt) for name, rtt in zip("ab", rtts_us, strict=True)]
        book.add(book.rows(["a", "b"]), rtts_us.astype(np.float32), np.full(2, 1_000 * number))
        live += book.evaluate(1_000 * number + 25)
    assert replay(samples, TARGETS, groups) == live


def test_several_samples_of_a_target_in_one_step_are_taken_in_their_order() -> None:
    fast = {"a": Target(name="a", address="192.0.2.1", interval_ms=10)}
    samples = [Recorded("a", 10 * number, 10_000 if number < 300 else LOST) for number in range(400)]
    at_once, slowly = (replay(samples, fast, {"g": new_group("g", ["a"])}, step_ms=step) for step in (10, 4_000))
    assert (at_once[-1].level, at_once[-1].reason) == (100, "a: no answer")
    assert [level.level for level in slowly] == [100]


def test_samples_of_strangers_are_left_out() -> None:
    changes = replay([Recorded("x", 5, 1_000)], TARGETS, {"g": new_group("g", ["a"])})
    assert [level.state for level in changes] == [State.UNKNOWN]


def test_nothing_recorded_changes_nothing() -> None:
    assert replay([], TARGETS, {"g": new_group("g", ["a"])}) == []

"""Every process knows the time of Redis, whatever the clock of its machine shows, and asks nobody for it."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from espfleet.store.client import Store, open_store
from espfleet.store.clock import Clock, Offset, steady_clock, steady_ns

HOUR_S = 3_600


class Ticks:
    """A clock that never jumps, as the test lets it go on."""

    def __init__(self) -> None:
        self.us = 0

    def __call__(self) -> int:
        return self.us


def test_it_goes_on_from_what_the_server_told() -> None:
    ticks = Ticks()
    clock = Clock(ticks)
    assert clock.told(0, b"1000", b"500000") == 1_000_500
    ticks.us += 2_000_000
    assert clock.now_ms() == 1_002_500


def test_an_answer_that_was_long_under_way_does_not_disturb_it() -> None:
    ticks = Ticks()
    clock = Clock(ticks)
    clock.told(0, 1_000, 0)
    ticks.us += 10_000_000
    # The server looked at its clock at once, and the answer took three seconds; then it looked after three seconds.
    for told_s in (1_010, 1_016):
        asked_us = ticks.us
        ticks.us += 3_000_000
        clock.told(asked_us, told_s, 0)
        assert clock.now_ms() == 1_000_000 + ticks.us // 1_000
    # The clock of the server was set: it goes by that at once, as exactly as the way there allows.
    for told_s in (500, 9_000):
        asked_us = ticks.us
        ticks.us += 4_000
        clock.told(asked_us, told_s, 0)
        assert 0 <= clock.now_ms() - told_s * 1_000 <= 4


def test_what_it_goes_on_by_is_not_the_clock_that_is_set() -> None:
    # What Linux counts since the machine was started, asleep or not.
    up_s = float(Path("/proc/uptime").read_text().split()[0])
    assert up_s - 0.01 <= steady_ns() / 1e9 < up_s + 60


@pytest.mark.parametrize("wrong_by_s", [-HOUR_S, HOUR_S])
async def test_who_opens_a_fleet_knows_its_time_though_the_own_clock_is_wrong(
    store: Store, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    right_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + wrong_by_s * 1_000_000_000)
    async with open_store(store.url, name="wrong") as opened:
        assert abs(opened.now_ms() - await store.time_ms()) < 60_000


async def test_a_process_that_runs_on_learns_with_its_beat_that_the_clock_of_redis_was_set(store: Store) -> None:
    right_ms = await store.time_ms()
    store._clock.told(store._clock.ticks_us(), 1_000, 0)
    assert store.now_ms() < right_ms - HOUR_S * 1_000
    await store.settle()
    assert abs(store.now_ms() - right_ms) < 60_000


def test_an_offset_is_told_in_words_and_nonsense_is_none() -> None:
    offset = Clock().offset()
    assert offset.clock == steady_clock()
    assert Offset.parse(offset.to_text().encode()) == offset
    assert Offset.parse(b"0f -1") == Offset("0f", -1)
    for nonsense in (b"", b"0f", b"0f ", b" 5", b"0f five", b"0f 5 5", b"0f 1e9", b"0f 9999999999999999", b"\xff 5"):
        assert Offset.parse(nonsense) is None


def test_the_clock_that_nobody_sets_is_the_same_one_in_every_process_of_a_machine() -> None:
    words = "from espfleet.store.clock import steady_clock, steady_ns; print(steady_clock(), steady_ns())"
    before_ns = steady_ns()
    told = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout.split()
    assert told[0] == steady_clock()
    assert before_ns < int(told[1]) < steady_ns()

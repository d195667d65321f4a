"""The loop of a gateway rests between turns, never longer than it may, and never while something is to be done."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from espfleet.gateway.patience import PatientSelector, patient_loop


class Time:
    """A clock that only moves while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 50.0
        self.slept_s: list[float] = []

    def clock(self) -> float:
        return self.now_s

    def sleep(self, for_s: float) -> None:
        self.slept_s.append(for_s)
        self.now_s += for_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def selector(time: Time) -> Iterator[PatientSelector]:
    """Return a selector for which something is always ready."""
    ours, theirs = socket.socketpair()
    with ours, theirs, PatientSelector(0.002, time.clock, time.sleep) as made:
        theirs.send(b"x")
        made.register(ours, 1)
        yield made


def test_the_first_turn_comes_at_once_and_the_next_at_a_distance(selector: PatientSelector, time: Time) -> None:
    assert selector.select(None)
    assert time.slept_s == []
    assert selector.select(None)
    assert time.slept_s == [pytest.approx(0.002)]


def test_after_a_pause_nobody_waits(selector: PatientSelector, time: Time) -> None:
    selector.select(None)
    time.now_s += 1.0
    selector.select(5.0)
    assert time.slept_s == []


def test_what_is_ready_to_run_goes_on_at_once(selector: PatientSelector, time: Time) -> None:
    selector.select(None)
    for timeout in (0, -1.0):
        assert selector.select(timeout)
    assert time.slept_s == []


def test_no_timer_is_late_by_it(selector: PatientSelector, time: Time) -> None:
    selector.select(None)
    selector.select(0.0005)
    assert time.slept_s == [pytest.approx(0.0005)]


async def _echo(loop: asyncio.AbstractEventLoop) -> bytes:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for each in (ours, theirs):
            each.setblocking(False)
        got = b""
        for _ in range(20):
            await loop.sock_sendall(theirs, b"x")
            got += await loop.sock_recv(ours, 10)
        return got


def test_a_patient_loop_does_what_any_loop_does() -> None:
    with asyncio.Runner(loop_factory=patient_loop) as runner:
        assert runner.run(_echo(runner.get_loop())) == b"x" * 20

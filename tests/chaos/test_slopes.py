"""The slope by which chaos judges whether memory is flat: a leak is found among noise, and noise is none."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import socket

import pytest

from tests.chaos import slopes
from tests.chaos.run import MEMORY_MB_H
from tests.chaos.slopes import Curve, look


def curve(leak_mb_h: float, seed: int, warming_mb: float = 20.0) -> Curve:
    """Return an hour of a process that warms up, is noisy, has some bad moments, and leaks."""
    chance, found = random.Random(seed), Curve()
    for at_s in range(0, 3_600, 5):
        warm = warming_mb * min(1.0, at_s / 900)
        bad = 15.0 if chance.random() < 0.02 else 0.0
        found.times_s.append(float(at_s))
        found.values.append((60 + warm + bad + chance.gauss(0, 0.5) + leak_mb_h * at_s / 3_600, 20.0, 4.0))
    return found


@pytest.mark.parametrize("seed", range(5))
def test_a_leak_of_two_megabytes_an_hour_is_found_among_noise(seed: int) -> None:
    assert curve(2.0, seed).slope(0) > MEMORY_MB_H


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_warming_up_are_no_leak(seed: int) -> None:
    assert abs(curve(0.0, seed).slope(0)) < MEMORY_MB_H
    assert curve(0.0, seed).slope(1) == 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("at_s", [1_500, 2_300, 2_520, 2_800, 3_400])
def test_one_step_is_no_leak_and_hides_none(seed: int, at_s: int) -> None:
    for leak_mb_h, found in ((0.0, False), (2.0, True)):
        stepped = curve(leak_mb_h, seed)
        for n, when_s in enumerate(stepped.times_s):
            if when_s >= at_s:
                memory, *rest = stepped.values[n]
                stepped.values[n] = (memory + 10.0, *rest)  # type: ignore[assignment]
        assert (stepped.slope(0) > MEMORY_MB_H) is found


def test_the_lamps_of_a_gateway_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    # Far more than looking takes itself.
    monkeypatch.setattr(slopes, "LAMP_BYTES", 10_000_000)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = server.getsockname()[1]
        # What tests before this one left open is not to be closed in between.
        gc.collect()
        before = look(os.getpid(), port)
        for _ in range(10):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            stack.enter_context(server.accept()[0])
        after, raw = look(os.getpid(), port), look(os.getpid())
    assert before is not None
    assert after is not None
    assert raw is not None
    # Here both ends are files of this process.
    assert after[1] - before[1] == 10
    assert raw[1] - before[1] == 20
    assert raw[0] - after[0] == pytest.approx(100, abs=5)

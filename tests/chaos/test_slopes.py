"""The slope by which chaos judges whether memory is flat: a leak is found among noise, and noise is none."""

from __future__ import annotations

import random

import pytest

from tests.chaos.run import MEMORY_MB_H
from tests.chaos.slopes import Curve


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

"""Contributions: the five ways in which a target can be bad, each as a level of 0 to 100.

    loss     lower bound of the loss, in percent
    now      median of the short window, in ms
    usual    median of the long window, in ms
    jitter   jitter of RFC 3550, in ms
    jump     how far now lies above the baseline, as a multiple of the baseline

Each is mapped piecewise: 0 → 0, orange → 50, red → 90, 1.5 × red → 100. The level of a target is the highest of them.
"""

from __future__ import annotations

import math
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from espfleet.domain.groups import Thresholds
from espfleet.domain.quantiles import Floats, Rows
from espfleet.domain.states import ORANGE_LEVEL, RED_LEVEL

FULL_LEVEL = 100
#: Red times this is level 100.
FULL = 1.5
#: Stands for infinite where infinite would make a difference or a quotient meaningless.
_HUGE: Any = np.float32(1e9)
#: Points that usual latency may be too high, because it comes from bins.
_USUAL_MARGIN = 2
#: A threshold that nothing reaches.
_NEVER_REACHED = 1e30


class Kind(IntEnum):
    """What a contribution is about; also its place in the arrays of this module."""

    LOSS = 0
    NOW = 1
    USUAL = 2
    JITTER = 3
    JUMP = 4


class Cause(IntEnum):
    """What decides a level: a ``Kind`` of contribution by its number, or one of these."""

    LOSS_ITSELF = 5
    SPIKE = 6
    OUTAGE = 7
    NO_ADDRESS = 8


# Marks are a group's thresholds as a column of numbers: orange by kind and again for the loss, floor of the jump, at
# once, red by kind and again for the loss.
_ORANGE, _JUMP_FLOOR, _AT_ONCE, _RED = slice(0, 6), 6, 7, slice(8, 14)
#: Marks that are needed while nothing is above orange.
_CALM_MARKS = 7
MARKS = 14


def marks_of(thresholds: Thresholds) -> list[float]:
    """Return thresholds as the ``MARKS`` numbers that ``contributions`` takes; what is left out is never reached."""
    t = thresholds
    orange = [
        t.loss_orange_percent,
        t.latency_orange_ms,
        t.latency_orange_ms,
        _NEVER_REACHED if t.jitter_orange_ms is None else t.jitter_orange_ms,
        _NEVER_REACHED if t.jump_orange is None else t.jump_orange - 1,
    ]
    red = [
        t.loss_red_percent,
        t.latency_red_ms,
        t.latency_red_ms,
        2 * _NEVER_REACHED if t.jitter_red_ms is None else t.jitter_red_ms,
        2 * _NEVER_REACHED if t.jump_red is None else t.jump_red - 1,
    ]
    floor = 1.0 if t.jump_orange is None else max(t.jump_ms / (t.jump_orange - 1), 1e-3)
    at_once = math.nan if t.at_once_red_ms is None else t.at_once_red_ms
    return [*orange, orange[Kind.LOSS], floor, at_once, *red, red[Kind.LOSS]]


def jump_of(now_ms: Floats, baseline_ms: Floats, floor_ms: Floats) -> Floats:
    """Return by how many baselines ``now_ms`` lies above the baseline: 0 at the baseline, 1 at twice it.

    A baseline below ``floor_ms`` counts as that much. The floor is ``jump_ms / (jump_orange - 1)``, so the jump is
    orange exactly if now is ``jump_orange`` times the baseline and ``jump_ms`` above it too, and goes on from there
    without a step.
    """
    finite_ms = np.minimum(now_ms, _HUGE)
    jump: Floats = (finite_ms - baseline_ms) / np.maximum(baseline_ms, floor_ms)
    return jump


def levels_of(values: Floats, orange: Floats, red: Floats) -> Floats:
    """Return the levels, 0 to 100, of values against thresholds of the same shape."""
    levels = _share(values / orange, ORANGE_LEVEL)
    levels += _share((values - orange) / (red - orange), RED_LEVEL - ORANGE_LEVEL)
    levels += _share((values - red) / (red * np.float32(FULL - 1)), FULL_LEVEL - RED_LEVEL)
    return levels


def _share(part: Floats, points: int) -> Floats:
    """Return the points for the part of a stretch that was gone: none before it, all behind it. Changes ``part``."""
    np.maximum(part, 0, out=part)
    np.minimum(part, 1, out=part)
    part *= points
    return part


def contributions(values: Floats, marks: Floats) -> Floats:
    """Return the level of each kind of contribution, float32 [5, n].

    Args:
        values: Loss, now, usual, jitter and baseline, float32 [5, n]; what is infinite has level 100. The baseline is
            overwritten by the jump.
        marks: ``marks_of`` the thresholds, float32 [MARKS, n].
    """
    values[Kind.JUMP] = jump_of(values[Kind.NOW], values[Kind.JUMP], marks[_JUMP_FLOOR])
    return levels_of(values, marks[_ORANGE][: len(Kind)], marks[_RED][: len(Kind)])


def calm_levels(values: Floats, marks: Floats, group: Rows) -> Floats:
    """Return the contributions as long as they are orange at most, float32 [5, n]; above, only that they are.

    Args:
        values: As for ``contributions``, and changed as there.
        marks: ``marks_of`` the thresholds of each group, float32 [MARKS, groups].
        group: Number of the group to judge by, int64 [n].
    """
    calm = marks[:_CALM_MARKS].take(group, axis=1)
    values[Kind.JUMP] = jump_of(values[Kind.NOW], values[Kind.JUMP], calm[_JUMP_FLOOR])
    levels: Floats = values / calm[: len(Kind)]
    levels *= ORANGE_LEVEL
    return levels


def hot_levels(values: Floats, lost_percent: Floats, marks: Floats, group: Rows) -> tuple[Floats, Floats, Rows]:
    """Return the highest contribution, the highest if the loss itself stood for its lower bound, and which that is.

    Args:
        values: As ``calm_levels`` left them, float32 [5, n].
        lost_percent: The loss itself, float32 [n].
        marks: ``marks_of`` the thresholds of each group, float32 [MARKS, groups].
        group: Number of the group to judge by, int64 [n].

    Returns:
        Two levels, float32 [n], and a ``Kind`` or ``Cause.LOSS_ITSELF``, int64 [n].
    """
    marks = marks.take(group, axis=1)
    levels = levels_of(np.concatenate((values, lost_percent[None])), marks[_ORANGE], marks[_RED])
    highest: Floats = np.maximum.reduce(levels[: len(Kind)])
    return highest, np.maximum(highest, levels[Cause.LOSS_ITSELF]), deciding(levels)


def deciding(levels: Floats) -> Rows:
    """Return which of the contributions is the highest, int64 [n]. Changes ``levels``.

    Usual latency is told only where it is clearly above the present one, for it is less exact.
    """
    levels[Kind.USUAL] -= _USUAL_MARGIN
    kinds: Rows = levels.argmax(axis=0)
    return kinds


def red_at_once(last_us: Floats, marks: Floats, group: Rows) -> npt.NDArray[np.bool_]:
    """Return where the latest sample alone makes the level 100.

    Args:
        last_us: Latest sample in µs, or its code, which is negative or NaN, float32 [n].
        marks: ``marks_of`` the thresholds of each group, float32 [MARKS, groups].
        group: Number of the group to judge by, int64 [n].
    """
    red: npt.NDArray[np.bool_] = last_us / np.float32(1_000) >= marks[_AT_ONCE].take(group)
    return red

"""Colours of the lamp, and how they move: what it aims at in each moment, before its afterglow.

A colour is how bright green, orange and red should *look*, each from 0 to 1. The numbers are those of
``espfleet/domain/light_patterns.py``; a test holds the two together. Times are whole ms, because single-precision
floats, which is what these chips have, cannot tell two moments of the same day apart.
"""

import math

from micropython import const

DARK = (0.0, 0.0, 0.0)
GREEN = (1.0, 0.0, 0.0)
ORANGE = (0.0, 1.0, 0.0)
RED = (0.0, 0.0, 1.0)
ALL = (1.0, 1.0, 1.0)

STEADY = const(0)
BREATHE = const(1)
FLASH = const(2)
BLINK = const(3)
IN_TURN = const(4)
CHASE = const(5)

_FLASH_MS = const(150)
_BREATH_LOW = 0.15
_GAMMA = 2.2


def of_level(level: int) -> tuple:
    """Return the colour of a level: 0 green, 50 orange, 100 red, and mixtures between them."""
    share = min(max(level, 0), 100) / 50
    return (1.0 - share, share, 0.0) if share <= 1 else (0.0, 2.0 - share, share - 1.0)


def dimmed(colour: tuple, share: float) -> tuple:
    """Return a colour with each channel multiplied by ``share``."""
    return (colour[0] * share, colour[1] * share, colour[2] * share)


def moving(pattern: int, colours: tuple, cycle_ms: int, at_ms: int) -> tuple:
    """Return what a pattern aims at, ``at_ms`` after it began."""
    first = colours[0]
    if pattern == STEADY:
        return first
    phase_ms = at_ms % cycle_ms
    if pattern == IN_TURN:
        return colours[phase_ms * len(colours) // cycle_ms]
    if pattern == BREATHE:
        return dimmed(first, _BREATH_LOW + (1 - _BREATH_LOW) * (1 - math.cos(2 * math.pi * (phase_ms / cycle_ms))) / 2)
    if pattern == CHASE:
        return dimmed(first, phase_ms / cycle_ms)
    return first if phase_ms < (_FLASH_MS if pattern == FLASH else cycle_ms // 2) else DARK


def output(colour: tuple, percent: float) -> tuple:
    """Return what the channels are fed with, each 0 to 1 of full current, at ``percent`` of full brightness."""
    share = min(max(percent, 0), 100) / 100
    return tuple([min(max(channel * share, 0.0), 1.0) ** _GAMMA for channel in colour])

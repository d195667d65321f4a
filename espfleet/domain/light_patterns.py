"""Colours of a lamp, and how they move: what it aims at in each moment, before its afterglow.

A colour is how bright its green, orange and red channel should *look*, each from 0 to 1; ``light_glow`` turns that into
what the channels are fed with.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import NamedTuple

#: Length of the flash of ``Pattern.FLASH``.
FLASH_MS = 150
#: A breathing light never goes quite dark, so that nobody takes it for a dead one.
_BREATH_LOW = 0.15


class Colour(NamedTuple):
    """How bright each channel should look, 0 to 1."""

    green: float
    orange: float
    red: float

    def dimmed(self, share: float) -> Colour:
        """Return this colour with each channel multiplied by ``share``."""
        return Colour(self.green * share, self.orange * share, self.red * share)


DARK = Colour(0.0, 0.0, 0.0)
GREEN = Colour(1.0, 0.0, 0.0)
ORANGE = Colour(0.0, 1.0, 0.0)
RED = Colour(0.0, 0.0, 1.0)
ALL = Colour(1.0, 1.0, 1.0)
#: What the channels look like on a screen.
_ON_SCREEN = ((0, 255, 0), (255, 140, 0), (255, 0, 0))


class Pattern(StrEnum):
    """How a light moves."""

    STEADY = "steady"
    BREATHE = "breathe"
    #: One short flash at the start of each cycle.
    FLASH = "flash"
    #: On for the first half of each cycle.
    BLINK = "blink"
    #: Each colour for its share of the cycle.
    IN_TURN = "in turn"
    #: Rises through the cycle, then starts again from the dark.
    CHASE = "chase"


def colour_of(level: float) -> Colour:
    """Return the colour of a level: 0 green, 50 orange, 100 red, and mixtures between them."""
    share = min(max(level, 0.0), 100.0) / 50.0
    return Colour(1.0 - share, share, 0.0) if share <= 1.0 else Colour(0.0, 2.0 - share, share - 1.0)


def moving(pattern: Pattern, colours: tuple[Colour, ...], cycle_ms: int, at_ms: float) -> Colour:
    """Return what a pattern aims at.

    Args:
        pattern: How the light moves.
        colours: One, or for ``IN_TURN`` as many as there are turns.
        cycle_ms: After how long it repeats; not used by ``STEADY``.
        at_ms: Time since the pattern began, ms.
    """
    if pattern is Pattern.STEADY:
        return colours[0]
    phase_ms = at_ms % cycle_ms
    share = phase_ms / cycle_ms
    if pattern is Pattern.IN_TURN:
        return colours[min(int(share * len(colours)), len(colours) - 1)]
    if pattern is Pattern.BREATHE:
        return colours[0].dimmed(_BREATH_LOW + (1.0 - _BREATH_LOW) * (1.0 - math.cos(2.0 * math.pi * share)) / 2.0)
    if pattern is Pattern.CHASE:
        return colours[0].dimmed(share)
    lit_ms = FLASH_MS if pattern is Pattern.FLASH else cycle_ms / 2
    return colours[0] if phase_ms < lit_ms else DARK


def on_screen(colour: Colour) -> tuple[int, int, int]:
    """Return a colour as red, green and blue for a screen, each 0 to 255."""
    red, green, blue = (
        min(255, round(sum(share * led[part] for share, led in zip(colour, _ON_SCREEN, strict=True))))
        for part in range(3)
    )
    return red, green, blue

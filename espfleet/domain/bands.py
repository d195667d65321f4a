"""Bands: green, orange and red with a memory, so that no level flaps.

A band is raised by two samples in a row at or above its threshold, or by one that is red at once. It is cleared when
the level has been more than 5 points below the threshold for 5 s. Time is that of the samples, so the same samples
give the same bands whenever they are looked at.

To raise a band a loss must be sure, so its lower bound counts; to clear one, it must be gone, so the loss itself does.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from espfleet.domain.quantiles import Array, Floats, Rows, grown
from espfleet.domain.sizes import USUAL
from espfleet.domain.states import ORANGE_LEVEL, RED_LEVEL

CLEAR_BELOW = 5
#: What the level of a target was before its first sample, and its band as long as it has none.
NO_LEVEL = -1.0
NO_BAND = -1
GREEN, ORANGE, RED = 0, 1, 2
#: The time since when a level has been low, while it is not.
NOT_LOW = 2**62
_LOWEST = np.array([0, ORANGE_LEVEL, RED_LEVEL, -1], np.int16)
_HIGHEST = np.array([ORANGE_LEVEL - 1, RED_LEVEL - 1, 100, -1], np.int16)


class Bands:
    """The bands of many members.

    Attributes:
        held: ``NO_BAND``, ``GREEN``, ``ORANGE`` or ``RED``, int8.
        level: Level after the latest sample, before it is clamped into the band; ``NO_LEVEL`` without samples, float32.
        below_orange_ms, below_red_ms: Since when the level has been low enough to clear, int64; else ``NOT_LOW``. Of
            what is green they say nothing.
    """

    _BY_MEMBER = ("held", "level", "below_orange_ms", "below_red_ms")

    def __init__(self, clear_after_ms: int = USUAL.clear_after_ms) -> None:
        self.clear_after_ms = clear_after_ms
        self.held = np.empty(0, np.int8)
        self.level = np.empty(0, np.float32)
        self.below_orange_ms = np.empty(0, np.int64)
        self.below_red_ms = np.empty(0, np.int64)

    def resize(self, members: int) -> None:
        """Make room for ``members`` members; the new ones are to be cleared before use."""
        for name in self._BY_MEMBER:
            setattr(self, name, grown(getattr(self, name), members))

    def clear(self, members: Rows) -> None:
        """Let some members have no band."""
        self.held[members] = NO_BAND
        self.level[members] = NO_LEVEL
        self.below_orange_ms[members] = NOT_LOW
        self.below_red_ms[members] = NOT_LOW

    def copy(self, members: Rows, other: Bands, others: Rows) -> None:
        """Let members have the bands that ``others`` have in ``other``."""
        for name in self._BY_MEMBER:
            getattr(self, name)[members] = getattr(other, name)[others]

    def move(self, members: Rows, level: Floats, clear: Floats, at_once: Array, at_ms: Rows) -> Array:
        """Take in the levels after one more sample of each member; ``level`` is not changed.

        Members that are green and have a green level need no move. The first band is green with the first sample, any
        other with the second.

        Args:
            members: Positions, int64 [n], without doubles.
            level: Their levels, 0 to 100, float32 [n].
            clear: Their levels to clear by, at least ``level``, float32 [n].
            at_once: Which need no second sample, bool [n].
            at_ms: When the newest sample of each was sent, int64 [n], ms since the epoch.

        Returns:
            What to show: the level cut to a whole number within its band, or -1 without a band, int16 [n].
        """
        before = self.level.take(members)
        before[at_once] = 100
        # Twice at or above a threshold is what the lower of two levels is once. A green level needs no second one.
        raised = _bands(np.where(level < ORANGE_LEVEL, level, np.minimum(before, level)))
        most = RED - self._low_for(self.below_red_ms, members, clear < RED_LEVEL - CLEAR_BELOW, at_ms)
        most -= self._low_for(self.below_orange_ms, members, clear < ORANGE_LEVEL - CLEAR_BELOW, at_ms)
        held = np.maximum(np.minimum(self.held.take(members), most), raised)
        self.held[members] = held
        # NO_BAND is -1 and so finds the last places.
        shown: Array = np.minimum(np.maximum(level.astype(np.int16), _LOWEST[held]), _HIGHEST[held])
        return shown

    def _low_for(self, since_ms: Rows, members: Rows, low: npt.NDArray[np.bool_], at_ms: Rows) -> npt.NDArray[np.int8]:
        """Return 1 where the level has been low for long enough, else 0."""
        since = np.where(low, np.minimum(since_ms.take(members), at_ms), NOT_LOW)
        since_ms[members] = since
        return (at_ms - since >= self.clear_after_ms).view(np.int8)


def _bands(level: Floats) -> npt.NDArray[np.int8]:
    """Return the band of each level; ``NO_BAND`` for ``NO_LEVEL``."""
    number = (level >= ORANGE_LEVEL).view(np.int8) + (level >= RED_LEVEL).view(np.int8)
    numbers: npt.NDArray[np.int8] = number - (level < 0).view(np.int8)
    return numbers

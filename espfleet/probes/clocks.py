"""The two clocks of a prober: one that never jumps, and the one that kernel stamps are made of."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

#: A larger movement of one clock against the other means that somebody set the time. Slewing moves both alike.
STEP_NS = 100_000
#: Two clocks cannot be read at once. A reading spread wider than this (the process was set aside) says nothing.
READING_NS = 20_000
#: How often a spread reading is tried again.
READINGS = 5


@dataclass(frozen=True, slots=True)
class Clocks:
    """Clocks in nanoseconds.

    Attributes:
        monotonic_ns: Never set; drives schedules and time-outs.
        realtime_ns: Time since the epoch; kernel stamps are made of it.
    """

    monotonic_ns: Callable[[], int] = time.monotonic_ns
    realtime_ns: Callable[[], int] = time.time_ns

    def offset_ns(self) -> int | None:
        """Return the time since the epoch minus the monotonic time, or ``None`` if they cannot be read together."""
        for _ in range(READINGS):
            before = self.monotonic_ns()
            realtime = self.realtime_ns()
            after = self.monotonic_ns()
            if after - before <= READING_NS:
                return realtime - (before + after) // 2
        return None


SYSTEM = Clocks()


class StepWatch:
    """Notices when somebody sets the clock."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self.offset_ns = clocks.realtime_ns() - clocks.monotonic_ns()
        self.step_ns()

    def step_ns(self) -> int:
        """Return how far the clock was set since the last call; 0 almost always."""
        offset = self._clocks.offset_ns()
        if offset is None:
            return 0
        moved = offset - self.offset_ns
        if abs(moved) <= STEP_NS:
            return 0
        self.offset_ns = offset
        return moved

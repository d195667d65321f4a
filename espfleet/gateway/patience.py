"""The event loop of a gateway: it lets keepalives gather for a moment instead of waking up for each of them.

Ten thousand lamps send ten keepalives in a millisecond. A turn of the loop costs far more than reading one of them, so
turns keep a distance while there is nothing to do; whatever is ready to run goes on at once.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable

#: Between two turns, in seconds: next to nothing on the way of a level to a lamp.
DISTANCE_S = 0.002


def _rest(for_s: float) -> None:
    """Wait for some seconds: for as long, not until a moment, which is another one where a clock is being set."""
    select.select([], [], [], for_s)


class PatientSelector(selectors.DefaultSelector):
    """Waits for what comes, but not for the first of several.

    Args:
        distance_s: Between two returns with something, in seconds.
        clock: Returns seconds that never jump.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        distance_s: float = DISTANCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = _rest,
    ) -> None:
        super().__init__()
        self._distance_s = distance_s
        self._clock = clock
        self._sleep = sleep
        self._returned_s = float("-inf")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Return what is ready, as any selector does; ``timeout`` is kept."""
        if timeout is None or timeout > 0:
            rest_s = self._returned_s + self._distance_s - self._clock()
            if timeout is not None:
                rest_s = min(rest_s, timeout)
                timeout -= max(rest_s, 0.0)
            if rest_s > 0:
                self._sleep(rest_s)
        found = super().select(timeout)
        if found:
            self._returned_s = self._clock()
        return found


def patient_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop that keeps its turns at a distance."""
    return asyncio.SelectorEventLoop(PatientSelector())

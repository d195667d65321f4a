"""Time as it passes for these tests: what a busy machine takes from them does not count."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

TICK_S = 0.005
#: A tick may come so late on a machine that has nothing else to do.
MOST_S = 0.010


class OwnTime:
    """A clock that goes on by what this process computes, and by what its loop waits of its own will.

    Everything of a test in one loop, lamps and gateways, is kept waiting together; who counts by this clock takes
    that for no silence of the other. Where nobody is kept waiting it goes as fast as any clock.
    """

    def __init__(self) -> None:
        self._now_s = 0.0

    def now_s(self) -> float:
        """Return the time in seconds; it begins with 0."""
        return self._now_s

    def now_ms(self) -> float:
        """Return the time in ms."""
        return self._now_s * 1_000

    async def tick(self) -> None:
        """Go on until cancelled."""
        last_s, used_s = time.monotonic(), time.process_time()
        while True:
            await asyncio.sleep(TICK_S)
            now_s, now_used_s = time.monotonic(), time.process_time()
            self._now_s += min(now_s - last_s, now_used_s - used_s + MOST_S)
            last_s, used_s = now_s, now_used_s


@asynccontextmanager
async def own_time() -> AsyncIterator[OwnTime]:
    """Return a clock that goes while it is used."""
    clock = OwnTime()
    task = asyncio.create_task(clock.tick())
    try:
        yield clock
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

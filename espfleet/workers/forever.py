"""Keeping a loop alive while Redis comes and goes."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from espfleet.errors import StoreError

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0


class Forever:
    """Repeats a step; while Redis is away it waits longer and longer, and says so once.

    Args:
        what: Name of the work, for the log.
        logger: Where to say it.
        on_return: Awaited before the first step after an outage; what Redis forgot is written again there.
    """

    def __init__(
        self, what: str, logger: logging.Logger, on_return: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        self.what = what
        self.outages = 0
        self._logger = logger
        self._on_return = on_return
        self._away = False

    async def run(self, step: Callable[[], Awaitable[None]], every_s: float = 0.0) -> None:
        """Repeat ``step``, pausing ``every_s`` seconds after each; ends only by being cancelled."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                if self._away and self._on_return is not None:
                    await self._on_return()
                await step()
            except StoreError as exc:
                self._note_outage(exc)
                # Half of it by chance, so that many workers do not come back in one moment.
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
                continue
            if self._away:
                self._away = False
                self._logger.info("%s: Redis is back", self.what)
            pause_s = FIRST_PAUSE_S
            if every_s:
                await asyncio.sleep(every_s)

    def _note_outage(self, exc: StoreError) -> None:
        if not self._away:
            self._away = True
            self.outages += 1
            self._logger.warning("%s: waiting for Redis: %s", self.what, exc)

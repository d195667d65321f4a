"""The steward: duties that one worker has at a time, led by lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging

from espfleet.errors import StoreError
from espfleet.store import presence
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.workers.forever import Forever
from espfleet.workers.history import STEP_S, Chronicler
from espfleet.workers.membership import BEAT_S, Membership

logger = logging.getLogger(__name__)

ROLE = "steward"
SWEEP_DUTY = "lead:sweep"
#: A killed steward's duties are free after this time.
LEASE_MS = 2_000
SWEEP_S = 0.5


class Steward:
    """One steward; ``run`` ends only by being cancelled.

    Its duties: the sweep, which tells once that a device is offline whose gateway died with it, and the history.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._membership = Membership(store, ROLE, name)
        self._lease: Lease | None = None
        self._swept = 0
        self._chronicler = Chronicler(store, name)

    async def run(self) -> None:
        """Do the duties for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Forever("steward", logger).run(self._beat, BEAT_S), name="beat")
                tasks.create_task(Forever("sweep", logger).run(self._sweep, SWEEP_S), name="sweep")
                tasks.create_task(Forever("history", logger).run(self._chronicler.step, STEP_S), name="history")
        finally:
            # Redis may be the reason why we stop; the lease then ends by itself.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    if self._lease is not None:
                        await self._lease.release()
                    await self._membership.leave()

    async def _beat(self) -> None:
        await self._membership.beat({"leads": self._lease is not None, "swept": self._swept})

    async def _sweep(self) -> None:
        lease = await Lease.take(self._store, SWEEP_DUTY, self._name, LEASE_MS)
        if lease is None:
            self._lease = None
            return
        if self._lease is None:
            logger.info("the sweep is mine")
        self._lease = lease
        for gone in await presence.sweep(self._store):
            self._swept += 1
            logger.info("device %s is offline: %s", gone.device_id, gone.reason)

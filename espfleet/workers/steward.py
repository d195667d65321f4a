"""The steward: duties that one worker has at a time, led by lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from espfleet.errors import StoreError
from espfleet.exports.datadog import Datadog
from espfleet.exports.dogstatsd import DogStatsd
from espfleet.exports.prometheus import Prometheus
from espfleet.services import tokens
from espfleet.store import levels, presence
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.workers import exporter, keeper, outages
from espfleet.workers.exporter import Exporter
from espfleet.workers.forever import Forever
from espfleet.workers.grace import Grace
from espfleet.workers.history import STEP_S, Chronicler
from espfleet.workers.keeper import Keeper
from espfleet.workers.membership import BEAT_S, Membership
from espfleet.workers.outages import OutageFinder

logger = logging.getLogger(__name__)

ROLE = "steward"
SWEEP_DUTY = "lead:sweep"
#: A killed steward's duties are free after this time.
LEASE_MS = 2_000
SWEEP_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class StewardSettings:
    """What a steward can be told.

    Attributes:
        poll_s: Time between two visits to one board.
        board_token: What boards want to see, or ``""``.
        datadog: Where metrics go, or ``None``.
        prometheus_host, prometheus_port: Where ``/metrics`` is served; nowhere with port 0.
        dogstatsd_host, dogstatsd_port: Which agent is told too; none with port 0.
        host: Name of this machine, for Datadog.
    """

    poll_s: float = 5.0
    board_token: str = field(default="", repr=False)
    datadog: Datadog | None = None
    prometheus_host: str = "127.0.0.1"
    prometheus_port: int = 0
    dogstatsd_host: str = "127.0.0.1"
    dogstatsd_port: int = 0
    host: str = "espfleet"


class Steward:
    """One steward; ``run`` ends only by being cancelled.

    Its duties: the sweep, which tells once that a device is offline whose gateway died with it, the outages that many
    devices share, the history, the boards with their jobs, and metrics.

    Args:
        store: Where the fleet is kept.
        name: Of this worker.
        settings: What it is told.
        clock: Seconds since the epoch, by which jobs and metrics go; usually those of Redis.

    Raises:
        StartError: If the port of ``/metrics`` is taken, or the host of DogStatsD is not known.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        settings: StewardSettings | None = None,
        *,
        clock: Callable[[], float] | None = None,
    ) -> None:
        settings = settings or StewardSettings()
        self._store = store
        self._name = name
        self._membership = Membership(store, ROLE, name)
        self._lease: Lease | None = None
        self._swept = 0
        self._swept_at_ms: Sequence[float] = [math.inf] * store.shards
        self._grace = Grace(store)
        self._chronicler = Chronicler(store, name)
        self._outages = OutageFinder(store, name)
        shown = Prometheus(settings.prometheus_host, settings.prometheus_port) if settings.prometheus_port else None
        told = DogStatsd(settings.dogstatsd_host, settings.dogstatsd_port) if settings.dogstatsd_port else None
        self._exporter = Exporter(
            store, name, datadog=settings.datadog, prometheus=shown, dogstatsd=told, host=settings.host, clock=clock
        )
        self._keeper = Keeper(
            store,
            name,
            interval_s=settings.poll_s,
            token=settings.board_token,
            tell=self._exporter.tell,
            clock=clock,
        )

    async def run(self) -> None:
        """Do the duties for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Forever("steward", logger).run(self._beat, BEAT_S), name="beat")
                sweep = Forever("sweep", logger, on_return=self._grace.begin)
                tasks.create_task(sweep.run(self._sweep, SWEEP_S), name="sweep")
                tasks.create_task(Forever("history", logger).run(self._chronicler.step, STEP_S), name="history")
                tasks.create_task(Forever("outages", logger).run(self._outages.step, outages.STEP_S), name="outages")
                tasks.create_task(Forever("boards", logger).run(self._keeper.step, keeper.STEP_S), name="boards")
                tasks.create_task(Forever("metrics", logger).run(self._exporter.step, exporter.STEP_S), name="metrics")
                tasks.create_task(
                    Forever("/metrics", logger).run(self._exporter.show, exporter.STEP_S), name="/metrics"
                )
        finally:
            # Redis may be the reason why we stop; the lease then ends by itself.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    if self._lease is not None:
                        await self._lease.release()
                    await self._outages.close()
                    await self._keeper.close()
                    await self._exporter.close()
                    await self._membership.leave()

    async def _beat(self) -> None:
        own = {"boards": self._keeper.figures(), "metrics": self._exporter.figures()}
        await self._membership.beat(
            {"leads": self._lease is not None, "swept": self._swept, "outages": self._outages.told, **own}
        )

    async def _sweep(self) -> None:
        # Any server of a Cluster may be away on its own; the lease speaks for one of them.
        await self._grace.times()
        lease = await Lease.take(self._store, SWEEP_DUTY, self._name, LEASE_MS)
        await self._grace.heard()
        self._grace.note_there()
        if lease is None:
            self._lease = None
            return
        if self._lease is None:
            logger.info("the sweep is mine")
            # How late it was before is not known here.
            self._swept_at_ms = [math.inf] * self._store.shards
        self._lease = lease
        await tokens.end_old(self._store, now_ms=self._store.now_ms())
        await self._grace.heard()
        # As late as can be: Redis may have been away meanwhile.
        times_ms = await self._grace.times()
        set_back = any(map(operator.lt, times_ms, self._swept_at_ms))
        if set_back:
            await levels.hold_beats(self._store)
        if not self._grace.is_over:
            return
        found = await presence.sweep(self._store, times_ms, everywhere=set_back)
        await self._grace.heard(len(found))
        for gone in found:
            self._swept += 1
            logger.info("device %s is offline: %s", gone.device_id, gone.reason)
        self._swept_at_ms = times_ms

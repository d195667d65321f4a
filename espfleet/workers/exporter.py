"""The exporter, a duty of the steward: figures and readings go out, to Datadog by the outbox, and to the others."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from espfleet.domain.devices import Device
from espfleet.domain.points import Point, board_points
from espfleet.domain.registry import Registry
from espfleet.exports.datadog import Datadog
from espfleet.exports.dogstatsd import DogStatsd
from espfleet.exports.prometheus import Prometheus
from espfleet.services import figures
from espfleet.services.boards import Visit
from espfleet.store import points
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.workers.sender import Sender

logger = logging.getLogger(__name__)

DUTY = "lead:metrics"
LEASE_MS = 2_000
LEASE_S = 1.0
FIGURES_S = 10.0
#: ``/metrics`` is as new as this; where collecting is much work, as old as twenty times that work, at most 1.5 s.
#: Time that a busy machine takes is no work: what is shown would become the older the busier it is.
SHOW_S = 0.5
SHOW_RATIO = 20
SHOW_MOST_S = 1.5
#: So long it is shown as true: some may be missed.
SHOWN_FOR_S = 2.5
STEP_S = 0.5
#: Points of visits that wait while Redis is away; the oldest are given up.
KEPT = 50_000


class Exporter:
    """Collects and sends.

    Args:
        store: Where the fleet is kept.
        name: Of this worker.
        datadog: Where to send, or ``None``.
        prometheus: Who shows, or ``None``.
        dogstatsd: Which agent to tell too, or ``None``.
        host: Name that Datadog shows.
        clock: Seconds since the epoch.
        ticks: Seconds of a clock that nobody sets.
        work: Seconds that this thread has worked.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        *,
        datadog: Datadog | None = None,
        prometheus: Prometheus | None = None,
        dogstatsd: DogStatsd | None = None,
        host: str = "espfleet",
        clock: Callable[[], float] | None = None,
        ticks: Callable[[], float] = time.monotonic,
        work: Callable[[], float] = time.thread_time,
    ) -> None:
        self._store = store
        self._name = name
        self._prometheus = prometheus
        self._dogstatsd = dogstatsd
        self._clock = clock or store.now_s
        self._ticks = ticks
        self._work = work
        # It asks two clocks before it gives a metric up: that of Redis, and this machine's.
        self._sender = Sender(store, datadog.post, host=host, clock=clock or time.time) if datadog else None
        self._lease: Lease | None = None
        self._waiting: list[Point] = []
        self._collected_s = float("-inf")
        self._leased_s = float("-inf")
        self._send_s = 0.0
        self._show_s = float("-inf")
        self._full = False

    def figures(self) -> dict[str, float]:
        """Return what it tells of itself."""
        found: dict[str, float] = {}
        if self._sender is not None:
            found |= {"sent": self._sender.sent, "buried": self._sender.buried, "failures": self._sender.failures}
        if self._dogstatsd is not None:
            found |= {"dogstatsd_sent": self._dogstatsd.sent, "dogstatsd_lost": self._dogstatsd.lost}
        return found

    def tell(self, current: Registry, device: Device, visit: Visit) -> None:
        """Take what a visit found."""
        if self._sender is None and self._dogstatsd is None:
            return
        jobs = current.jobs_of.get(device.id, ())
        pins = {job.name: (job.pin, visit.gpio[job.pin]) for job in jobs if job.pin in visit.gpio}
        found = board_points(device.name, visit.at_ms // 1_000, visit.f, pins, visit.values)
        if self._dogstatsd is not None:
            self._dogstatsd.send(found)
        if self._sender is not None:
            self._waiting += found
            del self._waiting[:-KEPT]

    async def step(self) -> None:
        """Collect, put into the outbox, and send, each when it is time."""
        if self._sender is None and self._dogstatsd is None:
            return
        now_s = self._ticks()
        if self._lease is None or now_s - self._leased_s >= LEASE_S:
            self._lease = await Lease.take(self._store, DUTY, self._name, LEASE_MS)
            self._leased_s = now_s
        if self._waiting:
            some, self._waiting = self._waiting, []
            try:
                self._watch(await points.append(self._store, some))
            except BaseException:
                self._waiting = some + self._waiting
                raise
        if now_s - self._collected_s >= FIGURES_S:
            await self._collect()
            self._collected_s = now_s
        if self._sender is not None and self._lease is not None and now_s >= self._send_s:
            await self._send(self._sender, self._lease)

    async def _send(self, sender: Sender, lease: Lease) -> None:
        """Send whatever is there, but not for ever; the duty stays ours also while Datadog thinks for long."""
        began_s = self._ticks()
        async with lease.kept():
            while await sender.step() and self._ticks() - began_s < STEP_S:
                pass
        self._send_s = self._ticks() + sender.wait_s

    async def close(self) -> None:
        """Stop serving and give the duty up."""
        if self._prometheus is not None:
            self._prometheus.close()
        if self._dogstatsd is not None:
            self._dogstatsd.close()
        if self._lease is not None:
            await self._lease.release()

    async def show(self) -> None:
        """Show the present figures and readings at ``/metrics``, where that is wanted."""
        began_s = self._ticks()
        if self._prometheus is None or began_s < self._show_s:
            return
        worked_s = self._work()
        now_ms = round(self._clock() * 1_000)
        found = await figures.collect(self._store, now_ms=now_ms)
        found += await figures.board_readings(self._store, now_ms=now_ms)
        self._prometheus.show(found, SHOWN_FOR_S - (self._ticks() - began_s))
        self._show_s = began_s + min(max(SHOW_S, SHOW_RATIO * (self._work() - worked_s)), SHOW_MOST_S)

    async def _collect(self) -> None:
        if self._lease is None:
            return
        found = await figures.collect(self._store, now_ms=round(self._clock() * 1_000))
        if self._dogstatsd is not None:
            self._dogstatsd.send(found)
        if self._sender is not None and found:
            self._watch(await points.append(self._store, found))

    def _watch(self, entries: int) -> None:
        full = entries >= points.KEPT
        if full and not self._full:
            logger.warning("the outbox of metrics is full: the oldest are given up")
        self._full = full

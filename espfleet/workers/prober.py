"""The prober: measures its share of the targets and writes the samples to the streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from espfleet.domain.registry import Registry
from espfleet.domain.shards import share_of
from espfleet.domain.targets import Target
from espfleet.probes.engines import build_engines
from espfleet.probes.outcomes import Endpoint
from espfleet.probes.resolve import Resolver
from espfleet.store import registry, samples
from espfleet.store.client import Store
from espfleet.workers.forever import Forever
from espfleet.workers.lanes import ENTRY_SAMPLES, Lane, shard_views
from espfleet.workers.membership import BEAT_S, Membership
from espfleet.workers.outbox import Outbox

logger = logging.getLogger(__name__)

ROLE = "prober"
#: Layouts live two hours in Redis; they are written again this often.
LAYOUT_AGAIN_S = 1_800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProberSettings:
    """What a prober is told.

    Attributes:
        name: Name of this worker; no other may have it.
        flush_ms: Longest time a sample waits before it is written.
        resolve_s: Time between two look-ups of a name.
        kept_s: How much of the past a stream keeps.
    """

    name: str
    flush_ms: int = 25
    resolve_s: float = 60.0
    kept_s: float = 240.0


class Prober:
    """One prober; ``run`` ends only by being cancelled."""

    def __init__(self, store: Store, settings: ProberSettings) -> None:
        self._store = store
        self._settings = settings
        self._membership = Membership(store, ROLE, settings.name)
        self._outbox = Outbox(store, settings.name)
        self._resolver = Resolver(every_s=settings.resolve_s)
        self._registry = Registry(version=-1)
        self._share: tuple[Target, ...] = ()
        self._lanes: list[Lane] = []
        self._changed = asyncio.Event()
        self._rates: dict[int, float] = {}
        self._written_before: dict[int, int] = {}
        self._layouts_told_s = 0.0
        self._engine_addresses: Mapping[str, str | None] = {}

    async def run(self) -> None:
        """Probe for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Forever("prober", logger).run(self._beat, BEAT_S), name="beat")
                tasks.create_task(self._outbox.run(), name="outbox")
                tasks.create_task(self._resolver.run(self._changed.set), name="resolver")
                tasks.create_task(self._probe(), name="probe")
        finally:
            self._close_lanes()
            # Redis may be the reason why we stop; the heartbeat then ends by itself.
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._membership.leave(), 1.0)

    async def _beat(self) -> None:
        """Tell that this worker lives, and see whether its share has changed."""
        moved = await self._membership.beat(self._info())
        if await registry.version(self._store) != self._registry.version:
            self._registry = await registry.load(self._store)
            moved = True
        if moved:
            self._plan()
        self._set_keep()
        now_s = time.monotonic()
        if now_s - self._layouts_told_s > LAYOUT_AGAIN_S:
            self._layouts_told_s = now_s
            self._outbox.tell_layouts_again()

    def _plan(self) -> None:
        names = share_of(self._settings.name, self._membership.names, sorted(self._registry.targets))
        share = tuple(self._registry.targets[name] for name in names)
        if share != self._share:
            logger.info("%d of %d targets are mine", len(share), len(self._registry.targets))
        self._share = share
        self._resolver.watch({target.name: target.address for target in share})
        self._changed.set()

    def _set_keep(self) -> None:
        """Keep as many entries in each stream as all probers write in the time that is kept."""
        for shard, count in self._outbox.written.items():
            rate = (count - self._written_before.get(shard, 0)) / BEAT_S
            self._rates[shard] = max(rate, 0.9 * self._rates.get(shard, 0.0))
        self._written_before = dict(self._outbox.written)
        total: dict[int, float] = {}
        for info in (
            self._info(),
            *(other for name, other in self._membership.members.items() if name != self._settings.name),
        ):
            for shard, rate in info.get("entries_per_s", {}).items():
                total[int(shard)] = total.get(int(shard), 0.0) + rate
        kept_s = self._settings.kept_s
        self._outbox.keep({shard: max(samples.LEAST_KEPT, round(rate * kept_s * 1.5)) for shard, rate in total.items()})

    def _info(self) -> dict[str, Any]:
        """Return what this worker tells of itself."""
        return {
            "targets": len(self._share),
            "entries_per_s": {str(shard): round(rate, 2) for shard, rate in self._rates.items()},
            "dropped": self._outbox.dropped,
            "engines": [asdict(lane.engine.counters()) for lane in self._lanes],
        }

    async def _probe(self) -> None:
        """Tick the engines when they are due, and flush what they bring."""
        flush_ns = self._settings.flush_ms * 1_000_000
        while True:
            if self._changed.is_set():
                self._changed.clear()
                self._rebuild()
            now_ns = time.monotonic_ns()
            wake_ns = now_ns + 1_000_000_000
            for lane in self._lanes:
                if lane.engine.next_tick_ns(now_ns) <= now_ns:
                    lane.collect(lane.engine.tick(now_ns), now_ns)
                if lane.waiting and (lane.waiting >= ENTRY_SAMPLES or now_ns - lane.waiting_since_ns >= flush_ns):
                    self._flush(lane)
                wake_ns = min(wake_ns, lane.engine.next_tick_ns(now_ns))
                if lane.waiting:
                    wake_ns = min(wake_ns, lane.waiting_since_ns + flush_ns)
            pause_s = max(0.0, (wake_ns - time.monotonic_ns()) / 1e9)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._changed.wait()

    def _flush(self, lane: Lane) -> None:
        for view, blob, count in lane.take():
            self._outbox.put(view.shard, view.layout, blob, count)

    def _rebuild(self) -> None:
        """Make the lanes of the present share and addresses; what is unchanged goes on undisturbed."""
        self._close_lanes()
        by_interval: dict[int, list[Target]] = {}
        for target in self._share:
            by_interval.setdefault(target.interval_ms, []).append(target)
        for interval_ms, members in sorted(by_interval.items()):
            self._lanes += self._lanes_of(interval_ms, members)
        self._outbox.forget_layouts((view.shard, view.layout.layout_id) for lane in self._lanes for view in lane.views)

    def _lanes_of(self, interval_ms: int, members: Sequence[Target]) -> list[Lane]:
        endpoints = [Endpoint.of(target, self._resolver.address(target.name)) for target in members]
        shards_of = {
            target.name: self._registry.shards_of_target(target.name, self._store.shards) for target in members
        }
        return [
            Lane(engine, shard_views([endpoints[index] for index in indices], interval_ms, shards_of))
            for engine, indices in build_engines(endpoints, interval_ms)
        ]

    def _close_lanes(self) -> None:
        for lane in self._lanes:
            self._flush(lane)
            lane.engine.close()
        self._lanes = []

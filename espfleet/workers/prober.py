"""The prober: measures its share of the targets and writes the samples to the streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import asdict, dataclass
from typing import Any

from espfleet.domain.registry import Registry
from espfleet.domain.shards import share_of
from espfleet.errors import StoreError
from espfleet.probes.engines import without_icmp
from espfleet.probes.permission import find_out
from espfleet.probes.resolve import Resolver
from espfleet.store import registry, samples
from espfleet.store.client import Store
from espfleet.store.clock import steady_ns
from espfleet.workers.forever import Forever
from espfleet.workers.lanes import ENTRY_SAMPLES, Lane
from espfleet.workers.membership import Membership
from espfleet.workers.outbox import Outbox
from espfleet.workers.retention import Retention
from espfleet.workers.rig import Rig

logger = logging.getLogger(__name__)

ROLE = "prober"
#: A killed prober's heartbeat is gone after this time; with one beat of another its targets go on within 2.5 s.
LIFE_MS = 2_000
BEAT_S = 0.5
#: How often it looks how much it writes: more often would take one entry a second for two.
RATE_S = 1.0
#: Longest sleep when no engine wants anything.
IDLE_S = 1.0


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
    flush_ms: int = 50
    resolve_s: float = 60.0
    kept_s: float = 240.0


class Prober:
    """One prober; ``run`` ends only by being cancelled."""

    def __init__(self, store: Store, settings: ProberSettings) -> None:
        self._store = store
        self._settings = settings
        self._membership = Membership(store, ROLE, settings.name, life_ms=LIFE_MS)
        self._outbox = Outbox(store, settings.name)
        self._resolver = Resolver(refresh_s=settings.resolve_s)
        self._registry = Registry(version=-1)
        self._permission = find_out()
        self._told_permission = ""
        self._rig = Rig(self._permission, store.shards)
        self._wake = asyncio.Event()
        self._watched: dict[int, Lane] = {}
        self._ready: set[int] = set()
        self._retention: Retention | None = None
        self._rated_s = float("-inf")

    async def run(self) -> None:
        """Probe for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Forever("prober", logger).run(self._beat, BEAT_S), name="beat")
                tasks.create_task(self._outbox.run(), name="outbox")
                tasks.create_task(self._resolver.run(self._follow_names), name="resolver")
                tasks.create_task(self._probe(), name="probe")
        finally:
            self._watch_sockets([])
            self._rig.close()
            # Redis may be the reason why we stop; the heartbeat then ends by itself.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._membership.leave()

    async def _beat(self) -> None:
        """Tell that this worker lives, and see whether its share has changed."""
        if self._retention is None:
            # Before the first entry is written, which would cut the streams.
            self._retention = Retention(self._settings.kept_s, await samples.lengths(self._store), time.monotonic())
        moved = await self._membership.beat(self._info(self._retention))
        if await registry.version(self._store) != self._registry.version:
            self._registry = await registry.load(self._store)
            moved = True
        if moved:
            self._follow_share()
        self._set_keep(self._retention)

    def _follow_share(self) -> None:
        names = share_of(self._settings.name, self._membership.names, sorted(self._registry.targets))
        share = [self._registry.targets[name] for name in names]
        if self._rig.set_share(share, self._registry, self._resolver.addresses()):
            logger.info("%d of %d targets are mine", len(share), len(self._registry.targets))
            self._resolver.want(self._rig.hosts())
            self._follow_lanes()
            self._say_permission()

    def _follow_names(self) -> None:
        if self._rig.set_addresses(self._resolver.addresses()):
            self._follow_lanes()

    def _follow_lanes(self) -> None:
        self._outbox.forget_layouts(
            (view.shard, view.layout.layout_id) for lane in self._rig.lanes for view in lane.views
        )
        self._watch_sockets(self._rig.lanes)
        self._wake.set()

    def _say_permission(self) -> None:
        """Say once that ICMP is not permitted, and what becomes of the targets."""
        sentence = self._permission.fallback(*without_icmp(self._rig.endpoints))
        if sentence and sentence != self._told_permission:
            logger.warning("%s", sentence)
        self._told_permission = sentence

    def _watch_sockets(self, lanes: list[Lane]) -> None:
        """Be woken by answers of these lanes, and of no others."""
        loop = asyncio.get_running_loop()
        wanted = {number: lane for lane in lanes for number in lane.engine.filenos()}
        for number in set(self._watched) - set(wanted):
            loop.remove_reader(number)
        for number in set(wanted) - set(self._watched):
            loop.add_reader(number, self._note_answer, number)
        self._watched = wanted
        self._ready &= set(wanted)

    def _note_answer(self, number: int) -> None:
        self._ready.add(number)
        self._wake.set()

    async def _probe(self) -> None:
        """Tick the engines when they are due or answers have come, and flush what they bring."""
        while True:
            now_ns = time.monotonic_ns()
            ready = {id(self._watched[number]) for number in self._ready}
            self._ready.clear()
            self._wake.clear()
            wake_ns = now_ns + round(IDLE_S * 1e9)
            for lane in self._rig.lanes:
                wake_ns = min(wake_ns, self._serve(lane, now_ns, id(lane) in ready))
            for lane in self._rig.finished():
                self._flush(lane)
                self._watch_sockets([other for other in self._rig.lanes if other is not lane])
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, (wake_ns - time.monotonic_ns()) / 1e9)):
                    await self._wake.wait()

    def _serve(self, lane: Lane, now_ns: int, answered: bool) -> int:
        """Tick and flush one lane as is due; return when it is due again, monotonic ns."""
        if answered or lane.engine.next_tick_ns(now_ns) <= now_ns:
            lane.collect(lane.engine.tick(now_ns), now_ns)
        if lane.waiting and (lane.waiting >= ENTRY_SAMPLES or self._flush_due_ns(lane) <= now_ns):
            self._flush(lane)
            lane.flushed_ns = now_ns
        due_ns = lane.engine.next_tick_ns(now_ns)
        return min(due_ns, self._flush_due_ns(lane)) if lane.waiting else due_ns

    def _flush_due_ns(self, lane: Lane) -> int:
        """Return when the samples that wait are written: at once after a pause, else together with what follows."""
        return max(lane.waiting_since_ns, lane.flushed_ns + self._settings.flush_ms * 1_000_000)

    def _flush(self, lane: Lane) -> None:
        # By the clock of Redis, for this machine's may be wrong; and with it, how that was told.
        offset = self._store.offset()
        ahead_ns = offset.ahead_ms * 1_000_000 + steady_ns() - time.monotonic_ns()
        for view, blob, count in lane.take(ahead_ns):
            self._outbox.put(view.shard, view.layout, blob, count, offset)

    def _set_keep(self, retention: Retention) -> None:
        """Keep in each stream what all probers write to it in the time that is promised."""
        now_s = time.monotonic()
        if now_s - self._rated_s < RATE_S:
            return
        self._rated_s = now_s
        others = [info for name, info in self._membership.members.items() if name != self._settings.name]
        rates = [info.get("shard_entries_per_s", ()) for info in others]
        retention.follow(self._outbox.made, rates, now_s)
        self._outbox.keep = retention.entries()

    def _info(self, retention: Retention) -> dict[str, Any]:
        """Return what this worker tells of itself."""
        return {
            "targets": len(self._rig.endpoints),
            "entries_per_s": round(sum(retention.own_per_s), 2),
            "shard_entries_per_s": [round(one, 2) for one in retention.own_per_s],
            "dropped": self._outbox.dropped,
            "names": self._resolver.reasons(),
            **asdict(self._rig.counters()),
        }

"""The leveler: owns shards, turns their samples into levels, publishes, then acknowledges."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import asdict
from time import monotonic as now_s
from typing import Any

from espfleet.domain.registry import Registry
from espfleet.domain.shards import owner_of
from espfleet.domain.sizes import USUAL, Memory
from espfleet.errors import LeaseLostError, StoreError
from espfleet.services.sample_times import SET_MS
from espfleet.store import registry, turns
from espfleet.store.client import Store
from espfleet.store.leases import Lease, renew_all
from espfleet.store.samples import ShardReader
from espfleet.store.turns import Outcome, Turn
from espfleet.workers.forever import Forever
from espfleet.workers.membership import Membership
from espfleet.workers.shard import Shard

logger = logging.getLogger(__name__)

ROLE = "leveler"
#: A killed owner's leases and heartbeat are gone after this time. With one beat and one claim of another leveler its
#: shards go on within 2.5 s.
LEASE_MS = 1_500
BEAT_S = 0.5
CLAIM_S = 0.4
#: Longest wait for new samples; short, for a lost or won shard changes what is read.
BLOCK_MS = 200
READ_COUNT = 1_000
#: Levels age even when no sample comes: they are looked at this often.
AGE_S = 0.25


class Leveler:
    """One leveler; ``run`` ends only by being cancelled."""

    def __init__(self, store: Store, name: str, memory: Memory = USUAL) -> None:
        self._store = store
        self._memory = memory
        self._name = name
        self._membership = Membership(store, ROLE, name, life_ms=LEASE_MS)
        self._registry = Registry(version=-1)
        self._shards: dict[int, Shard] = {}
        self._leases: dict[int, Lease] = {}
        self._leaving: set[int] = set()
        self._samples = 0
        self._lag_ms = 0
        self._ahead_ms = store.offset().ahead_ms
        #: Entries that were cut off before they were read, of shards that were given up since.
        self._gaps = 0

    async def run(self) -> None:
        """Publish levels for ever."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(Forever("leveler", logger).run(self._beat, BEAT_S), name="beat")
                tasks.create_task(Forever("leases", logger).run(self._claim, CLAIM_S), name="claim")
                tasks.create_task(Forever("levels", logger, self._after_outage).run(self._work), name="work")
        finally:
            # Redis may be the reason why we stop; leases and heartbeat then end by themselves.
            with contextlib.suppress(StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    for shard in self._shards.values():
                        await shard.reader.stop()
                    for lease in self._leases.values():
                        await lease.release()
                    await self._membership.leave()

    async def _beat(self) -> None:
        await self._membership.beat(self._info())

    def _info(self) -> dict[str, Any]:
        return {
            "shards": sorted(self._shards),
            "samples": self._samples,
            "lag_ms": self._lag_ms,
            "gaps": self._gaps + sum(shard.reader.gaps for shard in self._shards.values()),
            "memory": asdict(self._memory),
        }

    async def _claim(self) -> None:
        """Renew what is mine, take what is free and mine by share, give up what is another's by share."""
        names = self._membership.names
        mine = {number for number in range(self._store.shards) if owner_of(f"s{number}", names) == self._name}
        # All at once: on a busy machine one after the other would take longer than a lease lasts.
        held = dict(self._leases)
        renewed = await renew_all(self._store, list(held.values()))
        for number, is_mine in zip(held, renewed, strict=True):
            if not is_mine:
                logger.warning("the lease of shard %d has run out", number)
                if self._leases.get(number) is held[number]:
                    del self._leases[number]
            elif number not in mine:
                self._leaving.add(number)
        free = sorted(mine - set(self._leases))
        taken = await asyncio.gather(*(Lease.take(self._store, f"s{number}", self._name, LEASE_MS) for number in free))
        self._leases.update((number, won) for number, won in zip(free, taken, strict=True) if won)

    async def _after_outage(self) -> None:
        """Begin anew: Redis may have lost what it knew, and samples may have come meanwhile."""
        for number in list(self._shards):
            await self._forget(number)

    async def _work(self) -> None:
        """Read what is new in the shards that are mine, publish what it changes, acknowledge."""
        await self._follow_leases()
        # What is read under a lease that has run out would stay unacknowledged until the next take-over.
        held = {number for number, lease in self._leases.items() if lease.held}
        readers = [shard.reader for number, shard in self._shards.items() if number in held]
        if not readers:
            self._ahead_ms = self._store.offset().ahead_ms
            await asyncio.sleep(BLOCK_MS / 1_000)
            return
        turn = await turns.read(self._store, readers, block_ms=BLOCK_MS, count=READ_COUNT)
        if self._clock_was_set():
            # The samples of before are of another time now.
            for number in list(self._shards):
                await self._forget(number)
            return
        await self._follow_registry(turn.registry_version)
        due = [shard for shard in self._shards.values() if shard.number in turn.entries or shard.due_s <= now_s()]
        outcomes = [await self._take(shard, turn) for shard in due]
        lost = await turns.write(self._store, outcomes, turn.now_ms)
        for shard in due:
            # Told first, and acknowledged with the next turn: what comes between a death and that is read again.
            if shard.number not in lost:
                shard.reader.done(turn.entries.get(shard.number, ()))
        for number in sorted(lost):
            logger.warning("%s", LeaseLostError(f"shard {number}"))
            self._leases.pop(number, None)
            await self._forget(number)

    def _clock_was_set(self) -> bool:
        """Whether the clock of Redis has been set since the last call."""
        before_ms, self._ahead_ms = self._ahead_ms, self._store.offset().ahead_ms
        set_ms = self._ahead_ms - before_ms
        if abs(set_ms) <= SET_MS:
            return False
        logger.warning(
            "the clock of Redis has been set %s by %.1f s", "ahead" if set_ms > 0 else "back", abs(set_ms) / 1_000
        )
        return True

    async def _take(self, shard: Shard, turn: Turn) -> Outcome:
        """Take in what is new in a shard, and return what comes of it."""
        entries = turn.entries.get(shard.number, [])
        self._samples += await shard.add(entries, turn.now_ms)
        if entries:
            self._lag_ms = max(0, turn.now_ms - int(entries[-1].entry_id.partition("-")[0]))
        shard.due_s = now_s() + AGE_S
        return shard.outcome(turn.now_ms)

    async def _follow_leases(self) -> None:
        """Open shards that were won, and forget those that were lost."""
        # Only here, where no read is under way once it is forgotten: what came by one after the release would be lost
        # to the next owner.
        while self._leaving:
            number = self._leaving.pop()
            await self._forget(number)
            if (given_up := self._leases.pop(number, None)) is not None:
                await given_up.release()
        for number in set(self._shards) - set(self._leases):
            logger.info("shard %d is no longer mine", number)
            await self._forget(number)
        for number, shard in list(self._shards.items()):
            if (lease := self._leases.get(number)) is None or lease.fence != shard.fence:
                await self._forget(number)
        opening = sorted(set(self._leases) - set(self._shards))
        if opening:
            await self._follow_registry(await registry.version(self._store))
        for number in opening:
            if (lease := self._leases.get(number)) is not None:
                self._shards[number] = await self._open(number, lease)

    async def _follow_registry(self, version: int) -> None:
        """Judge as the registry now says."""
        if version != self._registry.version:
            self._registry = await registry.load(self._store)
            for shard in self._shards.values():
                await shard.configure(self._registry)

    async def _forget(self, number: int) -> None:
        """Drop a shard, but not the count of what its stream lost."""
        shard = self._shards.pop(number, None)
        if shard is not None:
            await shard.reader.stop()
            self._gaps += shard.reader.gaps

    async def _open(self, number: int, lease: Lease) -> Shard:
        reader = ShardReader(self._store, number, self._name)
        shard = Shard(self._store, number, lease.fence, reader, self._memory)
        await shard.configure(self._registry)
        count = await shard.rebuild(await self._store.time_ms())
        logger.info("shard %d is mine: %d samples read back", number, count)
        return shard

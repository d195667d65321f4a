"""Samples on their way to Redis: written in the background, so that probing never waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterable, Mapping

from espfleet.domain.samples import Layout
from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.clock import Offset
from espfleet.store.samples import Entry
from espfleet.workers.forever import Forever

logger = logging.getLogger(__name__)

#: While Redis is away this many entries are kept, the newest: at one flush each 50 ms and four shards, of 50 s or more.
KEPT_ENTRIES = 4_000
#: Entries that go out in one pipeline.
PIPELINE_ENTRIES = 200


class Outbox:
    """Entries waiting for Redis, oldest first; full, it drops the oldest and counts them.

    Attributes:
        dropped: Samples given up because Redis was away too long.
        made: Entries put in so far, by number of the shard.
        keep: How many entries each stream keeps, roughly, by number of the shard.
    """

    def __init__(self, store: Store, worker: str) -> None:
        self.dropped = 0
        self.made: Counter[int] = Counter()
        self.keep: Mapping[int, int] = {}
        self._store = store
        self._worker = worker
        self._seq = 0
        self._entries: deque[tuple[Entry, int]] = deque()
        self._layouts: dict[tuple[int, str], Layout] = {}
        self._told: set[tuple[int, str]] = set()
        self._filled = asyncio.Event()

    def put(self, shard: int, layout: Layout, blob: bytes, count: int, offset: Offset) -> None:
        """Add one packed entry of ``count`` samples, whose times were told by this offset."""
        self._seq += 1
        self.made[shard] += 1
        self._layouts.setdefault((shard, layout.layout_id), layout)
        if len(self._entries) >= KEPT_ENTRIES:
            self.dropped += self._entries.popleft()[1]
        self._entries.append((Entry(shard, self._worker, self._seq, layout.layout_id, blob, offset), count))
        self._filled.set()

    def forget_layouts(self, current: Iterable[tuple[int, str]]) -> None:
        """Drop layouts that are neither current nor used by a waiting entry."""
        used = set(current) | {(entry.shard, entry.layout_id) for entry, _ in self._entries}
        self._layouts = {key: layout for key, layout in self._layouts.items() if key in used}
        self._told &= used

    async def run(self) -> None:
        """Write for ever."""
        await Forever("samples", logger, self._learn_time).run(self._write)

    async def _learn_time(self) -> None:
        # What is written from now on shall tell by which clock.
        await self._store.time_ms()

    async def _tell(self, layouts: Iterable[tuple[int, str]]) -> None:
        for shard, layout_id in layouts:
            await samples.put_layout(self._store, shard, self._layouts[shard, layout_id])
            self._told.add((shard, layout_id))

    async def _write(self) -> None:
        if not self._entries:
            self._filled.clear()
            await self._filled.wait()
        batch = [self._entries[index][0] for index in range(min(PIPELINE_ENTRIES, len(self._entries)))]
        # A layout is there before the first entry that needs it; one that Redis has lost is written again.
        new = {(entry.shard, entry.layout_id) for entry in batch} - self._told
        await self._tell(new)
        await self._tell(await samples.append(self._store, batch, self.keep))
        last = batch[-1].seq
        # What was dropped meanwhile to make room is no longer at the head.
        while self._entries and self._entries[0][0].seq <= last:
            self._entries.popleft()

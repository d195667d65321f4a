"""Samples on their way to Redis: written in the background, so that probing never waits for it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping

from espfleet.domain.samples import Layout
from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.samples import Entry
from espfleet.workers.forever import Forever

logger = logging.getLogger(__name__)

#: While Redis is away this many entries are kept, the newest; at one flush each 25 ms and shard it is 25 s or more.
KEPT_ENTRIES = 4_000
#: Entries that go out in one pipeline.
PIPELINE_ENTRIES = 200


class Outbox:
    """Entries waiting for Redis, oldest first; full, it drops the oldest and counts them.

    Attributes:
        dropped: Samples given up because Redis was away too long.
        written: Entries written so far, by shard.
    """

    def __init__(self, store: Store, worker: str) -> None:
        self.dropped = 0
        self.written: dict[int, int] = {}
        self._store = store
        self._worker = worker
        self._seq = 0
        self._entries: deque[tuple[Entry, int]] = deque()
        self._layouts: dict[tuple[int, str], Layout] = {}
        self._told: set[tuple[int, str]] = set()
        self._keep: Mapping[int, int] = {}
        self._filled = asyncio.Event()

    def keep(self, entries: Mapping[int, int]) -> None:
        """Set how many entries each shard's stream keeps."""
        self._keep = entries

    def put(self, shard: int, layout: Layout, blob: bytes, count: int) -> None:
        """Add one packed entry of ``count`` samples."""
        self._seq += 1
        self._layouts.setdefault((shard, layout.layout_id), layout)
        if len(self._entries) >= KEPT_ENTRIES:
            self.dropped += self._entries.popleft()[1]
        self._entries.append((Entry(shard, self._worker, self._seq, layout.layout_id, blob), count))
        self._filled.set()

    def forget_layouts(self, current: Iterable[tuple[int, str]]) -> None:
        """Drop layouts that are neither current nor used by a waiting entry."""
        used = set(current) | {(entry.shard, entry.layout_id) for entry, _ in self._entries}
        self._layouts = {key: layout for key, layout in self._layouts.items() if key in used}
        self._told &= used

    def tell_layouts_again(self) -> None:
        """Write every layout again before the next entry: they expire, and a new Redis does not know them."""
        self._told.clear()

    async def run(self) -> None:
        """Write for ever."""
        await Forever("samples", logger, self._after_outage).run(self._write)

    async def _after_outage(self) -> None:
        self.tell_layouts_again()

    async def _write(self) -> None:
        if not self._entries:
            self._filled.clear()
            await self._filled.wait()
        batch = [self._entries[index][0] for index in range(min(PIPELINE_ENTRIES, len(self._entries)))]
        for key in {(entry.shard, entry.layout_id) for entry in batch} - self._told:
            await samples.put_layout(self._store, key[0], self._layouts[key])
            self._told.add(key)
        for shard in {entry.shard for entry in batch}:
            mine = [entry for entry in batch if entry.shard == shard]
            await samples.append(self._store, mine, self._keep.get(shard, samples.LEAST_KEPT))
            self.written[shard] = self.written.get(shard, 0) + len(mine)
        last = batch[-1].seq
        # What was dropped meanwhile to make room is no longer at the head.
        while self._entries and self._entries[0][0].seq <= last:
            self._entries.popleft()

"""One shard in the hands of a leveler: its stream, its windows, its levels."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable

from espfleet.domain.levels import LevelBook
from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.domain.sizes import Memory
from espfleet.services.intake import Intake, order
from espfleet.services.sample_times import recent
from espfleet.store import levels
from espfleet.store.client import Store
from espfleet.store.samples import ShardReader, StreamEntry
from espfleet.store.turns import Outcome

logger = logging.getLogger(__name__)

#: Gateways take a shard for dead after 3 s without a beat.
BEAT_S = 1.0
SNAPSHOT_S = 1.0


class Shard:
    """A shard that this worker owns.

    Attributes:
        number: Number of the shard.
        fence: Number of the take-over; the store refuses writes with an older one.
        reader: Reads the shard's stream.
        due_s: When its levels are to be looked at again even without samples, monotonic clock.
    """

    def __init__(self, store: Store, number: int, fence: int, reader: ShardReader, memory: Memory) -> None:
        self.number = number
        self.fence = fence
        self.reader = reader
        self.due_s = 0.0
        self._store = store
        self._memory = memory
        self._book = LevelBook(memory)
        self._intake = Intake(store, number, self._book)
        self._read_back_to = "0-0"
        self._beat_s = self._snapshot_s = float("-inf")
        self._all_wanted = True

    async def configure(self, registry: Registry) -> None:
        """Judge the groups of this shard as the registry now has them, and forget those that are gone."""
        mine = {name: group for name, group in registry.groups.items() if self._is_mine(name)}
        targets = {
            name: target
            for name, target in registry.targets.items()
            if self.number in registry.shards_of_target(name, self._store.shards)
        }
        self._book.configure(targets, mine)
        self._intake.forget_rows()
        self._all_wanted = True
        published = await levels.read_levels(self._store)
        gone = [name for name in published.levels if self._is_mine(name) and name not in mine]
        if gone:
            await levels.remove(self._store, self.number, self.fence, gone)

    def _is_mine(self, group: str) -> bool:
        return shard_of(group, self._store.shards) == self.number

    async def rebuild(self, now_ms: int) -> int:
        """Read the windows back from the stream; return how many samples there were."""
        # First, so that what a former owner had read and not acknowledged is in the history too.
        claimed = await self.reader.claim_all()
        entries = await recent(self.reader, now_ms, self._memory.long_ms)
        count = await self._intake.add(entries, now_ms)
        if entries:
            self._read_back_to = entries[-1].entry_id
        await self.reader.ack([entry.entry_id for entry in claimed])
        return count

    async def add(self, entries: Iterable[StreamEntry], now_ms: int) -> int:
        """Take in new entries that were read by ``now_ms``; return how many samples they held."""
        read_back_to = order(self._read_back_to)
        return await self._intake.add([entry for entry in entries if order(entry.entry_id) > read_back_to], now_ms)

    def outcome(self, now_ms: int) -> Outcome:
        """Return what is to be told: levels that changed, a beat when it is time, and once a second the summary."""
        changed = self._book.evaluate(now_ms)
        if self._all_wanted:
            changed, self._all_wanted = self._book.group_levels(), False
        # By a clock that nobody sets: were the server's set back, nothing would beat until it is where it was.
        now_s = time.monotonic()
        told = summary = None
        if changed or now_s - self._beat_s >= BEAT_S:
            told, self._beat_s = changed, now_s
        if now_s - self._snapshot_s >= SNAPSHOT_S:
            summary, self._snapshot_s = self._book.summary(), now_s
        return Outcome(shard=self.number, fence=self.fence, levels=told, snapshot=summary)

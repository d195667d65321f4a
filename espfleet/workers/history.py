"""The chronicler: condenses what flows through the streams into history, a singleton duty led by lease.

It reads the streams without taking anything from those who make levels, and keeps a minute of samples in memory. A
block is written when its last sample can no longer be late; whoever takes over begins with what the streams still
hold, and writing a block again changes nothing.
"""

from __future__ import annotations

import logging
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espfleet.domain.registry import Registry
from espfleet.domain.samples import Layout, unpack
from espfleet.domain.smoke import POINT, condense, measured
from espfleet.errors import InvalidError
from espfleet.services.sample_times import SampleTimes
from espfleet.store import history, registry
from espfleet.store import samples as stream
from espfleet.store.client import Store
from espfleet.store.history import RESOLUTIONS, Resolution
from espfleet.store.leases import Lease
from espfleet.store.samples import ShardReader, StreamEntry

logger = logging.getLogger(__name__)

DUTY = "lead:history"
LEASE_MS = 2_000
STEP_S = 0.5
#: Samples of one write of the finer resolutions; a multiple of their steps that divides all their strings.
BLOCK_MS = 10_000
MINUTE_MS = 60_000
#: Entries that are kept one by one; who begins reads all that the streams hold.
GATHERED = 1_000
#: The longest time-out, and some for the way.
LATE_MS = 12_000
#: What the streams hold for sure when a chronicler begins.
BACK_MS = 200_000
#: What history may need in Redis; a fleet with more targets keeps the coarser resolutions only.
BUDGET_BYTES = 256 * 2**20


@dataclass(slots=True)
class _Piece:
    """Samples of an entry, or of many."""

    rows: npt.NDArray[np.int64]
    sent_ms: npt.NDArray[np.int64]
    rtt_us: npt.NDArray[np.float32]


def affordable(targets: int, budget_bytes: int = BUDGET_BYTES) -> tuple[Resolution, ...]:
    """Return the resolutions that so many targets may have, the coarsest first."""
    chosen: list[Resolution] = []
    for one in reversed(RESOLUTIONS):
        if chosen and targets * sum(item.target_bytes for item in (*chosen, one)) > budget_bytes:
            break
        chosen.append(one)
    return tuple(chosen)


class Chronicler:
    """Writes history; call ``step`` each ``STEP_S``.

    Args:
        store: Where the fleet is kept.
        name: Name of this worker.

    Attributes:
        leads: Whether the duty is this one's.
        written: Points written.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.leads = False
        self.written = 0
        self._store = store
        self._name = name
        self._registry = Registry(version=-1)
        self._names: list[str] = []
        self._rows: dict[str, int] = {}
        self._homes: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._layouts: dict[tuple[int, str], tuple[Layout, npt.NDArray[np.int64]]] = {}
        self._after: dict[int, str] = {}
        self._seqs: dict[tuple[int, str], int] = {}
        #: What was read in this step, by entry, and before.
        self._read_now: list[_Piece] = []
        self._pieces: deque[_Piece] = deque()
        self._next: dict[int, int] = {}

    async def step(self) -> None:
        """Read what is new and write what is complete, if the duty is or becomes this one's."""
        lease = await Lease.take(self._store, DUTY, self._name, LEASE_MS)
        now_ms = await self._store.time_ms()
        if lease is None:
            self.leads = False
            return
        # In a large fleet a step may take longer than the lease lasts.
        async with lease.kept():
            if not self.leads or self._clock_was_set(now_ms):
                self._begin(now_ms)
            await self._follow_registry()
            for shard in range(self._store.shards):
                await self._read(shard, now_ms)
            self._gather(now_ms)
            await self._write(now_ms)

    def _clock_was_set(self, now_ms: int) -> bool:
        """Whether the clock of Redis jumped: blocks in the future, or so many of the past that none is left of them."""
        next_ms = min(self._next.values())
        return not now_ms - 2 * BACK_MS <= next_ms <= now_ms

    def _begin(self, now_ms: int) -> None:
        logger.info("the history is mine")
        self.leads = True
        since_ms = now_ms - BACK_MS
        self._after = {shard: str(since_ms) for shard in range(self._store.shards)}
        self._seqs.clear()
        self._read_now.clear()
        self._pieces.clear()
        # Only blocks that are held from their beginning.
        self._next = {span: -(-since_ms // span) * span for span in (BLOCK_MS, MINUTE_MS)}

    async def _follow_registry(self) -> None:
        current = await registry.latest(self._store)
        if current.version == self._registry.version:
            return
        self._registry = current
        for name in sorted(current.targets):
            if name not in self._rows:
                self._rows[name] = len(self._names)
                self._names.append(name)
        # A target's samples go to each shard that has a group with it; they are taken from one.
        self._homes = np.array(
            [
                current.shards_of_target(name, self._store.shards)[0] if name in current.targets else -1
                for name in self._names
            ],
            np.int64,
        )
        self._layouts.clear()

    async def _read(self, shard: int, now_ms: int) -> None:
        reader = ShardReader(self._store, shard, "history")
        entries = await reader.since(self._after[shard])
        times = SampleTimes(self._store, entries, now_ms)
        for entry in entries:
            piece = await self._piece(shard, entry, times)
            if piece is not None:
                self._read_now.append(piece)
            # Redis may have gone away meanwhile: then it is read again.
            self._after[shard] = f"({entry.entry_id}"
            if len(self._read_now) >= GATHERED:
                self._gather(now_ms)

    def _gather(self, now_ms: int) -> None:
        """Make one piece of all that was read, without what no block needs: many small ones would take more memory.

        What a prober measured whose clock is far ahead would be kept with all that came after it.
        """
        if not self._read_now:
            return
        sent_ms = np.concatenate([piece.sent_ms for piece in self._read_now])
        wanted = (sent_ms >= min(self._next.values())) & (sent_ms <= now_ms + BACK_MS)
        if wanted.any():
            rows = np.concatenate([piece.rows for piece in self._read_now])
            rtt_us = np.concatenate([piece.rtt_us for piece in self._read_now])
            self._pieces.append(_Piece(rows[wanted], sent_ms[wanted], rtt_us[wanted]))
        self._read_now.clear()

    async def _piece(self, shard: int, entry: StreamEntry, times: SampleTimes) -> _Piece | None:
        """Return what an entry holds; ``None`` if it is of no use."""
        mark = (shard, entry.worker)
        if entry.seq <= self._seqs.get(mark, 0):
            return None
        found = await self._layout(shard, entry.layout_id)
        self._seqs[mark] = entry.seq
        if found is None:
            return None
        _, known = found
        try:
            batch = unpack(entry.blob)
            rows = known[batch.slots]
        except (InvalidError, IndexError) as exc:
            logger.warning("shard %d: entry %s is not usable: %s", shard, entry.entry_id, exc)
            return None
        sent_ms = times.right(entry.offset, batch.sent_ms())
        if sent_ms is None:
            return None
        good = (rows >= 0) & measured(batch.rtt_us)
        return _Piece(rows[good], sent_ms[good], batch.rtt_us[good])

    async def _layout(self, shard: int, layout_id: str) -> tuple[Layout, npt.NDArray[np.int64]] | None:
        known = self._layouts.get((shard, layout_id))
        if known is None:
            layout = await stream.get_layout(self._store, shard, layout_id)
            if layout is None:
                return None
            rows = np.array([self._rows.get(name, -1) for name in layout.targets], np.int64)
            rows[(rows >= 0) & (self._homes[rows] != shard)] = -1
            known = self._layouts[shard, layout_id] = (layout, rows)
        return known

    async def _write(self, now_ms: int) -> None:
        """Write the blocks that are complete, then forget samples that no block needs any more."""
        chosen = affordable(len(self._registry.targets))
        for span in (BLOCK_MS, MINUTE_MS):
            while self._next[span] + span + LATE_MS <= now_ms:
                for resolution in chosen:
                    if (MINUTE_MS if resolution.step_ms == MINUTE_MS else BLOCK_MS) == span:
                        await self._write_block(resolution, self._next[span], span)
                self._next[span] += span
        oldest_ms = min(self._next.values())
        while self._pieces and self._pieces[0].sent_ms.max() < oldest_ms:
            self._pieces.popleft()

    async def _write_block(self, resolution: Resolution, first_ms: int, span: int) -> None:
        if not self._pieces:
            return
        rows = np.concatenate([piece.rows for piece in self._pieces])
        sent_ms = np.concatenate([piece.sent_ms for piece in self._pieces])
        rtt_us = np.concatenate([piece.rtt_us for piece in self._pieces])
        inside = (sent_ms >= first_ms) & (sent_ms < first_ms + span)
        rows, sent_ms, rtt_us = rows[inside], sent_ms[inside], rtt_us[inside]
        if not len(rows):
            return
        count = span // resolution.step_ms
        keys, found = condense(rows * count + (sent_ms - first_ms) // resolution.step_ms, rtt_us)
        present, places = np.unique(keys // count, return_inverse=True)
        table = np.zeros((len(present), count), POINT)
        table[places, keys % count] = found
        await history.write(self._store, resolution, first_ms, [self._names[row] for row in present.tolist()], table)
        self.written += len(found)

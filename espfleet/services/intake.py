"""From the entries of a stream into the windows: the same way for the leveler and for ``why``."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from espfleet.domain.batches import Samples, joined
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import Layout, unpack
from espfleet.errors import InvalidError
from espfleet.services.sample_times import SampleTimes
from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.samples import StreamEntry

logger = logging.getLogger(__name__)

Rows = npt.NDArray[np.int64]


class Intake:
    """Puts the entries of one shard's stream into a book of levels, each once.

    Args:
        store: Where the layouts are.
        shard: Number of the shard.
        book: Takes the samples of the targets it knows; others are left out.
    """

    def __init__(self, store: Store, shard: int, book: LevelBook) -> None:
        self._store = store
        self._shard = shard
        self._book = book
        self._layouts: dict[str, tuple[Layout, Rows]] = {}
        self._missing: set[str] = set()
        self._newest_seq: dict[str, int] = {}

    def forget_rows(self) -> None:
        """Look the rows of all targets up again: the book has been configured anew."""
        self._layouts.clear()

    async def add(self, entries: Sequence[StreamEntry], now_ms: int) -> int:
        """Take in entries in their order, but none that was written twice; return how many samples were used.

        Args:
            entries: What was read.
            now_ms: Time after reading them by the clock of Redis, ms since the epoch.
        """
        times = SampleTimes(self._store, entries, now_ms)
        found = [await self._samples(entry, times) for entry in entries]
        count = 0
        for rows, rtt_us, sent_ms in joined(one for one in found if one is not None):
            self._book.add(rows, rtt_us, sent_ms)
            count += len(rows)
        return count

    async def _samples(self, entry: StreamEntry, times: SampleTimes) -> Samples | None:
        """Return what an entry says of targets that the book knows, or ``None``."""
        if entry.seq <= self._newest_seq.get(entry.worker, 0):
            return None
        self._newest_seq[entry.worker] = entry.seq
        known = await self._layout(entry.layout_id)
        if known is None:
            return None
        _, rows = known
        try:
            batch = unpack(entry.blob)
            here = rows[batch.slots]
        except (InvalidError, IndexError) as exc:
            logger.warning("shard %d: entry %s of %s is not usable: %s", self._shard, entry.entry_id, entry.worker, exc)
            return None
        sent_ms = times.right(entry.offset, batch.sent_ms())
        if sent_ms is None:
            return None
        inside = here >= 0
        if inside.all():
            return here, batch.rtt_us, sent_ms
        return here[inside], batch.rtt_us[inside], sent_ms[inside]

    async def _layout(self, layout_id: str) -> tuple[Layout, Rows] | None:
        """Return a layout with the rows of its targets, or ``None`` while nobody knows it."""
        known = self._layouts.get(layout_id)
        if known is None:
            layout = await samples.get_layout(self._store, self._shard, layout_id)
            if layout is None:
                self._note_missing(layout_id)
                return None
            known = self._layouts[layout_id] = (layout, np.asarray(self._book.rows(layout.targets), np.int64))
            self._missing.discard(layout_id)
        return known

    def _note_missing(self, layout_id: str) -> None:
        if layout_id not in self._missing:
            self._missing.add(layout_id)
            logger.warning("shard %d: nobody knows layout %s; its samples are left out", self._shard, layout_id)


def order(entry_id: str) -> tuple[int, int]:
    """Return an entry id as numbers that sort as the stream does."""
    at_ms, _, number = entry_id.partition("-")
    return int(at_ms), int(number)

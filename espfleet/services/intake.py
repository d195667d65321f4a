"""From the entries of a stream into the windows: the same way for the leveler and for ``why``."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from espfleet.domain.batches import Samples, joined
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import Layout, unpack
from espfleet.errors import InvalidError
from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.samples import StreamEntry

logger = logging.getLogger(__name__)

#: A sample is written at most this long after its time-out; more, or less than none, is another clock.
LATEST_MS = 2_000

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

    async def add(self, entries: Iterable[StreamEntry], now_ms: int, *, past: bool = False) -> int:
        """Take in entries in their order, but none that was written twice; return how many samples were used.

        Args:
            entries: What was read.
            now_ms: Time after reading them by the clock of Redis, ms since the epoch.
            past: Whether they were written some time ago, and not just now.
        """
        batches = [batch for entry in entries if (batch := await self._samples(entry, now_ms, past)) is not None]
        count = 0
        for rows, rtt_us, sent_ms in joined(batches):
            self._book.add(rows, rtt_us, sent_ms)
            count += len(rows)
        return count

    async def _samples(self, entry: StreamEntry, now_ms: int, past: bool) -> Samples | None:
        """Return what an entry says of targets that the book knows, or ``None`` where it is of no use."""
        if entry.seq <= self._newest_seq.get(entry.worker, 0):
            return None
        self._newest_seq[entry.worker] = entry.seq
        known = await self._layout(entry.layout_id)
        if known is None:
            return None
        layout, rows = known
        try:
            batch = unpack(entry.blob)
            here = rows[batch.slots]
        except (InvalidError, IndexError) as exc:
            logger.warning("shard %d: entry %s of %s is not usable: %s", self._shard, entry.entry_id, entry.worker, exc)
            return None
        sent_ms = batch.sent_ms()
        if past and min(int(sent_ms[-1]), written_ms(entry)) > now_ms + LATEST_MS:
            # All clocks were ahead, and have been set back since: nobody knows when this was, but it was not just now.
            return None
        sent_ms = _on_our_clock(sent_ms, written_ms(entry), now_ms, layout.timeout_ms)
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


def written_ms(entry: StreamEntry) -> int:
    """Return when Redis got an entry, ms since the epoch by its clock."""
    return order(entry.entry_id)[0]


def _on_our_clock(
    sent_ms: npt.NDArray[np.int64], written_at_ms: int, now_ms: int, timeout_ms: int
) -> npt.NDArray[np.int64]:
    """Return send times by the clock of Redis: a prober whose clock is wrong, or was set, spoils nothing."""
    newest_ms = int(sent_ms[-1])
    if written_at_ms > now_ms + LATEST_MS and newest_ms <= now_ms + LATEST_MS:
        # Redis's own clock was set back, and its stream goes on from where it was ahead: the prober knows better.
        return sent_ms
    delay_ms = min(written_at_ms, now_ms) - newest_ms
    if -LATEST_MS <= delay_ms <= timeout_ms + LATEST_MS:
        return sent_ms
    return sent_ms + delay_ms

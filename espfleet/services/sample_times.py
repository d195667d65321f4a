"""When samples were sent, by the clock of Redis as it is now: whatever clock was wrong meanwhile, or was set.

A prober tells times by what it knows of the clock of Redis, and with each entry how far that was ahead of a clock that
nobody sets. So the samples of a stream keep their order and their distances, though the clock of Redis was set between
them, and though they had to wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from espfleet.store.client import Store
from espfleet.store.clock import Offset
from espfleet.store.samples import ShardReader, StreamEntry

#: Offsets differ by what answers were under way, and a little more each day; what is beyond is a clock that was set.
SET_MS = 500
#: No sample is newer than this after now: whoever told its time did not know yet that the clock had been set back.
AHEAD_MS = 2_000
#: An older entry than that after the beginning of a time shows that all of it is there.
FILLED_MS = 10_000

Times = npt.NDArray[np.int64]


async def recent(reader: ShardReader, now_ms: int, span_ms: int) -> list[StreamEntry]:
    """Return what a stream holds of the last ``span_ms``: more of it where ids do not tell when, for a clock was set.

    Args:
        reader: Reads the stream.
        now_ms: Time by the clock of Redis, ms since the epoch.
        span_ms: How far back, in ms.
    """
    since_ms = now_ms - span_ms
    entries = await reader.since(str(since_ms))
    if entries:
        first_ms = int(entries[0].entry_id.partition("-")[0])
        if first_ms <= since_ms + FILLED_MS and not _was_set(entries):
            return entries
    return await reader.since("-")


def _was_set(entries: Iterable[StreamEntry]) -> bool:
    """Return whether the clock of Redis was set while entries were written."""
    first: dict[str, int] = {}
    offsets = (entry.offset for entry in entries if entry.offset)
    return any(abs(one.ahead_ms - first.setdefault(one.clock, one.ahead_ms)) > SET_MS for one in offsets)


class SampleTimes:
    """Puts the times of entries right.

    Args:
        store: Where they were read.
        entries: Those of one stream that are looked at together, in its order.
        now_ms: Time after reading them.
    """

    def __init__(self, store: Store, entries: Iterable[StreamEntry], now_ms: int) -> None:
        self._now_ms = now_ms
        #: How far Redis's clock is ahead of each other one, as was told last.
        self._ahead_ms = {entry.offset.clock: entry.offset.ahead_ms for entry in entries if entry.offset}
        # What this process knows is newer than what any on the same machine wrote.
        own = store.offset()
        self._ahead_ms[own.clock] = own.ahead_ms

    def right(self, offset: Offset | None, sent_ms: Times) -> Times | None:
        """Return when the samples of an entry were sent, ms since the epoch; ``None`` if nobody knows.

        Args:
            offset: Of the entry.
            sent_ms: What it says itself, int64 [n], rising, n > 0.
        """
        if offset is not None:
            set_ms = self._ahead_ms[offset.clock] - offset.ahead_ms
            if abs(set_ms) > SET_MS:
                sent_ms = sent_ms + set_ms
        return sent_ms if sent_ms[-1] <= self._now_ms + AHEAD_MS else None

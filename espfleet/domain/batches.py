"""Batches: samples on their way into the book of levels.

Taking in a batch costs some 0.2 ms however small it is, so a stream of small ones is joined first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from espfleet.domain.quantiles import Floats, Rows

#: Rows, samples and send times, as ``LevelBook.add`` takes them.
Samples = tuple[Rows, Floats, Rows]


def joined(batches: Iterable[Samples]) -> Iterator[Samples]:
    """Yield the same samples in fewer batches: neighbours become one as long as no row is in it twice.

    The samples of each row keep their order, so the levels are the same.
    """
    waiting: list[Samples] = []
    used: set[int] = set()
    for batch in batches:
        rows = batch[0].tolist()
        if not used.isdisjoint(rows):
            yield _one(waiting)
            waiting, used = [], set()
        waiting.append(batch)
        used.update(rows)
        # Unknown rows are all -1 and are in nobody's way.
        used.discard(-1)
    if waiting:
        yield _one(waiting)


def _one(batches: list[Samples]) -> Samples:
    if len(batches) == 1:
        return batches[0]
    rows, rtts_us, sent_ms = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return rows, rtts_us, sent_ms

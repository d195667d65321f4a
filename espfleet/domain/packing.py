"""Packing: the summary of all targets becomes few bytes for the store."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from espfleet.domain.blocks import Blocks
from espfleet.domain.members import Members
from espfleet.domain.quantiles import Array
from espfleet.domain.samples import UNREACHABLE, UNRESOLVED
from espfleet.domain.summary import HEADER, LAST, NO_AGE, VERSION
from espfleet.domain.windows import NEVER

#: As ``summary.ROW`` reads it.
_TABLE = np.dtype(
    [
        ("level", "<i1"),
        ("why", "<i1"),
        ("code", "<i1"),
        ("now_ms", "<f4"),
        ("usual_ms", "<f4"),
        ("last_ms", "<f4"),
        ("jitter_ms", "<f4"),
        ("loss_percent", "<f4"),
        ("age_ms", "<i4"),
    ]
)
_NONE, _ANSWERED, _LOST, _UNREACHABLE, _UNRESOLVED, _UNMEASURED = range(len(LAST))


def pack(blocks: Blocks, members: Members, now_ms: int, only: Collection[str] | None = None) -> bytes:
    """Return the summary of all targets, or of those in ``only``, as bytes: 28 for each, and the names."""
    names = list(blocks.rows) if only is None else [name for name in blocks.rows if name in only]
    rows = np.array([blocks.rows[name] for name in names], np.int64)
    table = np.zeros(len(names), _TABLE)
    for number, inside, where in blocks.split(rows):
        block = blocks.blocks[number]
        newest_ms = block.newest_ms.take(inside)
        last_us = block.last_us.take(inside)
        part = np.zeros(len(inside), _TABLE)
        part["level"] = members.worst(number, inside)
        part["why"] = block.why_unknown(inside)
        part["code"] = _codes(last_us, newest_ms, block.unmeasured_ms.take(inside))
        some = newest_ms != NEVER
        part["now_ms"] = np.where(some, block.values[1].take(inside), np.inf)
        part["usual_ms"] = np.where(some, block.values[2].take(inside), np.inf)
        part["last_ms"] = np.where(some & (last_us >= 0), last_us / np.float32(1_000), np.inf)
        part["jitter_ms"] = block.values[3].take(inside)
        part["loss_percent"] = block.lost_percent(inside)
        part["age_ms"] = np.where(some, np.clip(now_ms - newest_ms, 0, 2**31 - 1), NO_AGE)
        table[where] = part
    text = "\n".join(names).encode()
    return HEADER.pack(VERSION, len(names), len(text), now_ms) + text + table.tobytes()


def _codes(last_us: Array, newest_ms: Array, unmeasured_ms: Array) -> Array:
    """Return what the last sample of each row was, as a position in ``LAST``."""
    lost = np.where(last_us == UNREACHABLE, _UNREACHABLE, np.where(last_us == UNRESOLVED, _UNRESOLVED, _LOST))
    codes = np.where(newest_ms == NEVER, _NONE, np.where((last_us >= 0) & (last_us < np.inf), _ANSWERED, lost))
    return np.where(unmeasured_ms > newest_ms, _UNMEASURED, codes)

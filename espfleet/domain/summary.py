"""Summary: what is known of each target at one moment, packed into few bytes for the store."""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from espfleet.domain.blocks import Blocks
from espfleet.domain.combine import UNKNOWN
from espfleet.domain.members import Members
from espfleet.domain.quantiles import Array
from espfleet.domain.reasons import WHY
from espfleet.domain.samples import UNREACHABLE, UNRESOLVED
from espfleet.domain.states import Band, band_of
from espfleet.domain.windows import NEVER, Why
from espfleet.errors import InvalidError

VERSION = 1
#: version, targets, bytes of the names, when it was made (ms since the epoch)
_HEADER = struct.Struct("<BIIq")
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
#: What the last sample of a target was, by code.
LAST = ("", "answered", "lost", "unreachable", "no address", "not measured")
_NONE, _ANSWERED, _LOST, _UNREACHABLE, _UNRESOLVED, _UNMEASURED = range(len(LAST))
_NO_AGE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSummary:
    """What is known of a target.

    Attributes:
        target: Name of the target.
        level: The worst of what its groups see, 0 to 100, or ``None`` while it is unknown.
        unknown: Why it is unknown, or ``""``.
        now_ms: Median of the short window, or ``None`` if it is infinite or there are no samples.
        usual_ms: Median of the long window, likewise.
        last_ms: The last answer, or ``None`` if the last sample was none.
        jitter_ms: Jitter.
        loss_percent: Share of the latest samples that were lost, over 60 s or more.
        age_ms: Time since the newest sample was sent, or ``None`` without samples.
        last: What the last sample was: one of ``LAST``.
    """

    target: str
    level: int | None
    unknown: str
    now_ms: float | None
    usual_ms: float | None
    last_ms: float | None
    jitter_ms: float
    loss_percent: float
    age_ms: int | None
    last: str

    @property
    def band(self) -> Band | None:
        """Colour, or ``None`` while the level is unknown."""
        return None if self.level is None else band_of(self.level)


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
        part["age_ms"] = np.where(some, np.clip(now_ms - newest_ms, 0, 2**31 - 1), _NO_AGE)
        table[where] = part
    text = "\n".join(names).encode()
    return _HEADER.pack(VERSION, len(names), len(text), now_ms) + text + table.tobytes()


def _codes(last_us: Array, newest_ms: Array, unmeasured_ms: Array) -> Array:
    """Return what the last sample of each row was, as a position in ``LAST``."""
    lost = np.where(last_us == UNREACHABLE, _UNREACHABLE, np.where(last_us == UNRESOLVED, _UNRESOLVED, _LOST))
    codes = np.where(newest_ms == NEVER, _NONE, np.where((last_us >= 0) & (last_us < np.inf), _ANSWERED, lost))
    return np.where(unmeasured_ms > newest_ms, _UNMEASURED, codes)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of some targets.

    Attributes:
        at_ms: When it was made, ms since the epoch.
        targets: The targets by name.
    """

    at_ms: int
    targets: dict[str, TargetSummary]


def parse_summary(blob: bytes) -> Summary:
    """Return the summary that ``pack`` wrote.

    Raises:
        InvalidError: If the bytes are of another version, cut short, or mean nothing.
    """
    if len(blob) < _HEADER.size or blob[0] != VERSION:
        raise InvalidError(f"a summary of {len(blob)} bytes is not of version {VERSION}")
    _, count, names_bytes, at_ms = _HEADER.unpack_from(blob)
    start = _HEADER.size + names_bytes
    if len(blob) != start + count * _TABLE.itemsize:
        raise InvalidError(f"a summary of {len(blob)} bytes contradicts its header")
    table = np.frombuffer(blob, _TABLE, count, start)
    try:
        names = blob[_HEADER.size : start].decode().split("\n") if count else []
        return Summary(at_ms, {name: _summary(name, *row) for name, row in zip(names, table.tolist(), strict=True)})
    except (ValueError, IndexError):
        raise InvalidError(f"a summary of {len(blob)} bytes holds values that mean nothing") from None


def _summary(
    name: str,
    level: int,
    why: int,
    code: int,
    now_ms: float,
    usual_ms: float,
    last_ms: float,
    jitter_ms: float,
    loss_percent: float,
    age_ms: int,
) -> TargetSummary:
    return TargetSummary(
        target=name,
        level=None if level == UNKNOWN else level,
        unknown=WHY[Why(why)] if level == UNKNOWN else "",
        now_ms=_finite(now_ms),
        usual_ms=_finite(usual_ms),
        last_ms=_finite(last_ms),
        jitter_ms=jitter_ms,
        loss_percent=loss_percent,
        age_ms=None if age_ms == _NO_AGE else age_ms,
        last=LAST[code],
    )


def _finite(value: float) -> float | None:
    return None if value == np.inf else value

"""Samples: what probes brought back, packed for a stream.

A worker's targets of one shard and one interval form a ``Layout``: their names in the order they are probed. A
``Batch`` holds samples of one round over one layout. An entry of the stream is one packed batch; it names its
layout by id, so that four bytes a sample are enough.

RTTs are float32 microseconds. What is not an RTT is a code: ``LOST`` (NaN), ``UNREACHABLE`` and ``UNRESOLVED`` count
as lost; ``NOT_MEASURED`` changes nothing but age.
"""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from espfleet.errors import InvalidError

LOST = math.nan
#: Nothing can be said: the probe did not leave this machine, or the clock was set meanwhile.
NOT_MEASURED = -1.0
#: The network answered that the target cannot be reached.
UNREACHABLE = -2.0
#: The target's name has no address.
UNRESOLVED = -3.0

Floats = npt.NDArray[np.float32]
Slots = npt.NDArray[np.int32]

VERSION = 1
#: version, encoding, samples, first slot, slots spanned, when slot 0's probe was sent (epoch ns), ns between slots
_HEADER = struct.Struct("<BBHIIqQ")
_RUN, _BITMAP, _INDEX = 0, 1, 2
MAX_BATCH = 0xFFFF
#: In the year 2262 the nanoseconds since the epoch no longer fit.
_LATEST_NS = 2**63 - 1


@dataclass(frozen=True)
class Layout:
    """The targets of one worker, shard and interval, in the order they are probed.

    Attributes:
        interval_ms: Time between two probes of a target.
        timeout_ms: Longest timeout among the targets.
        targets: Names of the targets; a slot is a position in it.
    """

    interval_ms: int
    timeout_ms: int
    targets: tuple[str, ...]

    @cached_property
    def layout_id(self) -> str:
        """16 hex digits made of the content: equal layouts have equal ids."""
        return blake2b(self.to_json().encode(), digest_size=8).hexdigest()

    def to_json(self) -> str:
        """Return it as JSON text."""
        return json.dumps([self.interval_ms, self.timeout_ms, self.targets], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str | bytes) -> Layout:
        """Return the layout that ``to_json`` described."""
        interval_ms, timeout_ms, targets = json.loads(text)
        return cls(interval_ms, timeout_ms, tuple(targets))


@dataclass(frozen=True, slots=True)
class Batch:
    """Samples of one round over one layout.

    Attributes:
        slots: Positions in the layout, int32 [n], rising.
        rtt_us: RTT in microseconds or a code, float32 [n].
        at_ns: When the probe of slot 0 was sent in this round, ns since the epoch.
        step_ns: Time between the probes of two neighbouring slots, ns.
    """

    slots: Slots
    rtt_us: Floats
    at_ns: int
    step_ns: int

    def sent_ms(self) -> npt.NDArray[np.int64]:
        """Return when each probe was sent, int64 [n], ms since the epoch."""
        sent_ns: npt.NDArray[np.int64] = (self.at_ns + self.slots.astype(np.int64) * self.step_ns) // 1_000_000
        return sent_ns


def is_lost(rtt_us: Floats) -> npt.NDArray[np.bool_]:
    """Return which samples count as lost, bool [n]."""
    lost: npt.NDArray[np.bool_] = np.isnan(rtt_us) | (rtt_us <= UNREACHABLE)
    return lost


def pack(batch: Batch) -> bytes:
    """Return a batch of 1 to 65,535 samples as bytes.

    There are 28 for the header, 4 a sample and, unless the slots are neighbours, the shorter of a bitmap and a list.
    """
    slots = batch.slots
    count = len(slots)
    first = int(slots[0])
    span = int(slots[-1]) - first + 1
    if span == count:
        encoding, where = _RUN, b""
    elif (span + 7) // 8 <= 4 * count:
        present = np.zeros(span, np.uint8)
        present[slots - first] = 1
        encoding, where = _BITMAP, np.packbits(present, bitorder="little").tobytes()
    else:
        encoding, where = _INDEX, slots.astype("<u4").tobytes()
    header = _HEADER.pack(VERSION, encoding, count, first, span, batch.at_ns, batch.step_ns)
    return header + where + batch.rtt_us.astype("<f4", copy=False).tobytes()


def unpack(entry: bytes) -> Batch:
    """Return the batch that ``pack`` wrote.

    Raises:
        InvalidError: If the bytes are of another version, cut short, or contradict themselves.
    """
    try:
        version, encoding, count, first, span, at_ns, step_ns = _HEADER.unpack_from(entry)
    except struct.error:
        raise InvalidError(f"a packed sample entry of {len(entry)} bytes is cut short") from None
    if version != VERSION:
        raise InvalidError(f"a packed sample entry is of version {version}; this espfleet reads version {VERSION}")
    if abs(at_ns) + (first + span) * step_ns > _LATEST_NS:
        raise InvalidError("a packed sample entry was sent at no time")
    where_bytes = {_RUN: 0, _BITMAP: (span + 7) // 8, _INDEX: 4 * count}.get(encoding, -1)
    start = _HEADER.size + where_bytes
    if where_bytes < 0 or not count or span < count or first + span > 2**31 or len(entry) != start + 4 * count:
        raise InvalidError(f"a packed sample entry of {len(entry)} bytes contradicts its header")
    slots = _slots(entry[_HEADER.size : start], encoding, count, first, span)
    return Batch(slots, np.frombuffer(entry, "<f4", count, start), at_ns, step_ns)


def _slots(where: bytes, encoding: int, count: int, first: int, span: int) -> Slots:
    if encoding == _RUN and count == span:
        return np.arange(first, first + span, dtype=np.int32)
    if encoding == _BITMAP:
        bits = np.unpackbits(np.frombuffer(where, np.uint8), count=span, bitorder="little")
        slots: Slots = (np.flatnonzero(bits) + first).astype(np.int32)
    else:
        slots = np.frombuffer(where, "<u4").astype(np.int32)
    if len(slots) != count or slots[0] != first or slots[-1] != first + span - 1 or not _rises(slots):
        raise InvalidError("a packed sample entry lists slots that contradict its header")
    return slots


def _rises(slots: npt.NDArray[Any]) -> bool:
    return bool((np.diff(slots) > 0).all())

"""Summary: what is known of each target at one moment, as ``packing`` makes it for the store; read without numpy."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from espfleet.domain.states import Band, band_of
from espfleet.domain.unknowns import UNKNOWN, WHY, Why
from espfleet.errors import InvalidError

VERSION = 1
#: version, targets, bytes of the names, when it was made (ms since the epoch)
HEADER = struct.Struct("<BIIq")
#: A target: level, why it is unknown, code of the last sample, now_ms, usual_ms, last_ms, jitter_ms, loss_percent,
#: age_ms. The fields of ``packing`` are these.
ROW = struct.Struct("<bbbfffffi")
#: What the last sample of a target was, by code.
LAST = ("", "answered", "lost", "unreachable", "no address", "not measured")
NO_AGE = -1


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
    if len(blob) < HEADER.size or blob[0] != VERSION:
        raise InvalidError(f"a summary of {len(blob)} bytes is not of version {VERSION}")
    _, count, names_bytes, at_ms = HEADER.unpack_from(blob)
    start = HEADER.size + names_bytes
    if len(blob) != start + count * ROW.size:
        raise InvalidError(f"a summary of {len(blob)} bytes contradicts its header")
    rows = ROW.iter_unpack(memoryview(blob)[start:])
    try:
        names = blob[HEADER.size : start].decode().split("\n") if count else []
        return Summary(at_ms, {name: _summary(name, *row) for name, row in zip(names, rows, strict=True)})
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
        age_ms=None if age_ms == NO_AGE else age_ms,
        last=LAST[code],
    )


def _finite(value: float) -> float | None:
    return None if value == math.inf else value

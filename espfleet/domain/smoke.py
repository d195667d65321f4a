"""Smoke: many samples as few points, each with its loss and the spread of its answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from espfleet.domain.samples import NOT_MEASURED, is_lost

Keys = npt.NDArray[np.int64]
Table = npt.NDArray[Any]

#: A point as it is stored: ms as float16 are exact to 0.05 % from 0.06 µs to 65 s; a count of 0 means none.
POINT = np.dtype(
    [
        ("count", "<u2"),
        ("lost", "<u2"),
        ("least", "<f2"),
        ("low", "<f2"),
        ("median", "<f2"),
        ("high", "<f2"),
        ("most", "<f2"),
    ]
)
_QUANTILES = (("least", 0.0), ("low", 0.25), ("median", 0.5), ("high", 0.75), ("most", 1.0))
_MOST_COUNT = 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What the samples of one step say.

    Attributes:
        at_ms: Beginning of the step, ms since the epoch.
        count: Samples, lost ones too.
        lost: How many of them were lost.
        least_ms, low_ms, median_ms, high_ms, most_ms: Least answer, quartiles, most; ``None`` if all were lost.
    """

    at_ms: int
    count: int
    lost: int
    least_ms: float | None
    low_ms: float | None
    median_ms: float | None
    high_ms: float | None
    most_ms: float | None


def measured(rtt_us: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which samples say something, bool [n]; the others change nothing."""
    said: npt.NDArray[np.bool_] = rtt_us != NOT_MEASURED
    return said


def condense(keys: Keys, rtt_us: npt.NDArray[np.float32]) -> tuple[Keys, Table]:
    """Return the different keys in rising order, and a point (of dtype ``POINT``) for the samples of each.

    Args:
        keys: Which point each sample belongs to, int64 [n].
        rtt_us: RTT in microseconds, or a code of a lost sample, float32 [n].
    """
    values = np.where(is_lost(rtt_us), np.inf, rtt_us / np.float32(1_000))
    order = np.lexsort((values, keys))
    keys, values = keys[order], values[order]
    found, starts, counts = np.unique(keys, return_index=True, return_counts=True)
    answered = np.add.reduceat(np.isfinite(values).astype(np.int64), starts) if len(found) else counts
    table = np.zeros(len(found), POINT)
    table["count"] = np.minimum(counts, _MOST_COUNT)
    table["lost"] = np.minimum(counts - answered, _MOST_COUNT)
    some = answered > 0
    for name, share in _QUANTILES:
        # The last answer comes before the first loss, for losses are infinite and stand at the end.
        place = starts + np.floor(share * np.maximum(answered - 1, 0) + 0.5).astype(np.int64)
        column = np.where(some, values[place] if len(found) else 0.0, 0.0)
        table[name] = np.minimum(column, np.finfo(np.float16).max)
    return found, table


def points(times_ms: Keys, table: Table) -> list[Point]:
    """Return stored points as values; those without samples are left out."""
    rows = zip(times_ms.tolist(), table.tolist(), strict=True)
    return [_point(at_ms, *row) for at_ms, row in rows if row[0]]


def _point(at_ms: int, count: int, lost: int, *spread: float) -> Point:
    least, low, median, high, most = (round(value, 3) for value in spread) if lost < count else (None,) * 5
    return Point(
        at_ms=at_ms,
        count=count,
        lost=lost,
        least_ms=least,
        low_ms=low,
        median_ms=median,
        high_ms=high,
        most_ms=most,
    )

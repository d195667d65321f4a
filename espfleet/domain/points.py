"""Points: numbers on their way out, each with a name, a time and tags."""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Points in one entry of the outbox.
ENTRY_POINTS = 500
#: An entry that says it is larger is none of ours.
_ENTRY_BYTES = 1_048_576
#: Datadog takes no older points, and none from further ahead.
OLDEST_S = 3_600
AHEAD_S = 600


@dataclass(frozen=True, slots=True)
class Point:
    """One value.

    Attributes:
        name: Such as ``esp32.f``.
        value: A finite number.
        at_s: When, seconds since the epoch.
        tags: ``NAME:VALUE``.
    """

    name: str
    value: float
    at_s: int
    tags: tuple[str, ...] = ()


def pack(points: Iterable[Point]) -> bytes:
    """Return points as an entry: JSON, compressed, for it may wait for an hour with thousands of others."""
    rows = [[one.name, one.value, one.at_s, one.tags] for one in points]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), level=1)


def unpack(entry: bytes) -> list[Point]:
    """Return the points of an entry; what is none is left out, for nothing is to hold up the others."""
    try:
        rows = json.loads(zlib.decompressobj().decompress(entry, _ENTRY_BYTES))
    except (ValueError, RecursionError, zlib.error):
        return []
    return [point for row in rows if (point := _point(row)) is not None] if isinstance(rows, list) else []


def _point(row: Any) -> Point | None:
    try:
        name, value, at_s, tags = row
        point = Point(str(name), float(value), int(at_s), tuple(map(str, tags)))
    except (TypeError, ValueError, OverflowError):
        return None
    return point if math.isfinite(point.value) else None


def series(points: Sequence[Point], host: str) -> list[dict[str, Any]]:
    """Return points as Datadog's series, those of one name and tags together; type 3 is a gauge."""
    found: dict[tuple[str, tuple[str, ...]], list[dict[str, Any]]] = {}
    for one in points:
        found.setdefault((one.name, one.tags), []).append({"timestamp": one.at_s, "value": one.value})
    return [
        {
            "metric": name,
            "type": 3,
            "points": values,
            "tags": list(tags),
            "resources": [{"name": host, "type": "host"}],
        }
        for (name, tags), values in found.items()
    ]


def board_points(
    device: str, at_s: int, f: float | None, pins: Mapping[str, tuple[int, int]], values: Mapping[str, float]
) -> list[Point]:
    """Return what a visit tells, under EspNet's names and ours.

    Args:
        device: Name of the device.
        at_s: When, seconds since the epoch.
        f: °F of its chip.
        pins: By name of the job, its pin and the value of that.
        values: What the sensors measured, by name of the reading, °C.
    """
    name = f"name:{device}"
    found = [] if f is None else [Point("esp32.f", f, at_s, (name,))]
    for job, (pin, high) in pins.items():
        found.append(Point("esp32.gpio", float(high), at_s, (name, f"pin:{pin}", f"job:{job}")))
    for reading, value in values.items():
        sensor, _, what = reading.rpartition(".")
        if what in ("temp", "humidity"):
            # EspNet's is in °F.
            espnet = value * 9 / 5 + 32 if what == "temp" else value
            found.append(Point(f"esp32.dht22.{what}", espnet, at_s, (name, f"sensor:{sensor}")))
        found.append(Point("espfleet.reading", value, at_s, (name, f"reading:{reading}")))
    return found

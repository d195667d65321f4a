"""What the whole fleet looks like in numbers, for metrics: latency, loss, levels, devices by state, workers, boards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from espfleet.domain.devices import Presence
from espfleet.domain.points import Point
from espfleet.services import devices, levels, targets
from espfleet.store import readings, registry, workers
from espfleet.store.client import Store

ROLES = ("prober", "leveler", "gateway", "steward", "web")
#: Older readings are not told, nor those of clocks that are so far ahead.
FRESH_MS = 120_000


async def collect(store: Store, *, now_ms: int) -> list[Point]:
    """Return the figures of this moment."""
    current, at_s = await registry.load(store), now_ms // 1_000
    found: list[Point] = []
    for view in await targets.views(store):
        summary, tags = view.summary, (f"target:{view.target.name}",)
        # What was measured last is no figure of this moment.
        if summary is None or summary.unknown:
            continue
        for name, value in (
            ("espfleet.latency_ms", summary.now_ms),
            ("espfleet.jitter_ms", summary.jitter_ms),
            ("espfleet.loss_percent", summary.loss_percent),
        ):
            if value is not None:
                found.append(Point(name, float(value), at_s, tags))
    for group, level in (await levels.read(store, registry=current, now_ms=now_ms)).items():
        if level.band is not None:
            found.append(Point("espfleet.level", float(level.level), at_s, (f"group:{group}",)))
    seen = await devices.views(store, now_ms=now_ms)
    counts = Counter(view.presence for view in seen)
    for state in Presence:
        found.append(Point("espfleet.devices", float(counts[state]), at_s, (f"state:{state.value}",)))
    for role in ROLES:
        for worker, info in (await workers.alive(store, role)).items():
            for name, value in numbers(info):
                found.append(Point(f"espfleet.{role}.{name}", value, at_s, (f"worker:{worker}",)))
    return found


async def board_readings(store: Store, *, now_ms: int) -> list[Point]:
    """Return the fresh readings of all devices, which the outbox gets with each visit."""
    found = []
    devices_by_id = (await registry.load(store)).devices
    for device_id, known in (await readings.get_all(store, devices_by_id)).items():
        for name, reading in known.items():
            if abs(now_ms - reading.at_ms) <= FRESH_MS:
                tags = (f"name:{devices_by_id[device_id].name}", f"reading:{name}")
                found.append(Point("espfleet.reading", reading.value, reading.at_ms // 1_000, tags))
    return found


def numbers(info: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers in what a worker tells of itself, nested names joined by underscores."""
    for name, value in info.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{before}{name}_")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)

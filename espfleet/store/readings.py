"""Readings: the latest number of each name that a device reports, for a day, and what they were each minute of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from espfleet.domain.shards import shard_of
from espfleet.store.client import Store

TTL_MS = 24 * 3_600_000
#: Names a device may report; further ones are left out, so that no device fills the server.
MAX_NAMES = 64
#: Devices in one message to those who listen.
TOLD_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Reading:
    """A number a device reported, and when: ms since the epoch."""

    value: float
    at_ms: int


@dataclass(frozen=True, slots=True)
class Report:
    """Numbers that a device reported at one moment, ms since the epoch, by name."""

    values: Mapping[str, float]
    at_ms: int


async def put(store: Store, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
    """Store readings of one moment, ms since the epoch; those of other names stay."""
    if not values:
        return
    words: list[str | int] = [TTL_MS, MAX_NAMES]
    for name, value in values.items():
        words += [name, f"{at_ms} {float(value)!r}"]
    part = shard_of(device_id, store.shards)
    touched = [store.keys.readings(part, device_id), store.keys.readings_history(part, device_id)]
    await store.run("put_readings", touched, words)


async def report(store: Store, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
    """Store readings of one moment, and tell whoever listens."""
    await put(store, device_id, values, at_ms)
    await tell(store, {device_id: Report(values, at_ms)})


async def tell(store: Store, reports: Mapping[str, Report]) -> None:
    """Tell whoever listens what devices reported, by hardware id; those of many in one message."""
    messages = []
    for some in _some(reports):
        told = {device_id: [one.at_ms, dict(one.values)] for device_id, one in some}
        messages.append(("PUBLISH", store.keys.readings_channel(), json.dumps(told, separators=(",", ":"))))
    await store.do_all(messages)


def _some(reports: Mapping[str, Report]) -> Iterator[list[tuple[str, Report]]]:
    waiting = iter(reports.items())
    while some := list(islice(waiting, TOLD_AT_ONCE)):
        yield some


def parse_told(text: bytes) -> dict[str, Report]:
    """Return what ``tell`` told."""
    return {device_id: Report(values, at_ms) for device_id, (at_ms, values) in json.loads(text).items()}


async def get(store: Store, device_id: str) -> dict[str, Reading]:
    """Return the latest readings of a device, by name."""
    found = await store.do("HGETALL", store.keys.readings(shard_of(device_id, store.shards), device_id))
    return {name.decode(): _reading(text) for name, text in found.items()}


async def get_all(store: Store, device_ids: Iterable[str]) -> dict[str, dict[str, Reading]]:
    """Return the latest readings of each of these devices."""
    ids = list(device_ids)
    found = await store.do_all([("HGETALL", store.keys.readings(shard_of(one, store.shards), one)) for one in ids])
    return {
        one: {name.decode(): _reading(text) for name, text in flat.items()}
        for one, flat in zip(ids, found, strict=True)
    }


async def past(store: Store, device_id: str, name: str, since_ms: int = 0) -> list[Reading]:
    """Return the readings of one name since ``since_ms``, at most one a minute and a day of them, oldest first."""
    key = store.keys.readings_history(shard_of(device_id, store.shards), device_id)
    found = []
    for _, flat in await store.do("XRANGE", key, "-", "+"):
        value = flat.get(name.encode())
        if value is not None:
            found.append(_reading(value))
    return [reading for reading in found if reading.at_ms >= since_ms]


def _reading(text: bytes) -> Reading:
    at_ms, _, value = text.partition(b" ")
    return Reading(float(value), int(at_ms))

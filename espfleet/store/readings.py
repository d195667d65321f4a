"""Readings: the latest number of each name that a device reports, for a day, and what each was in its minutes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from espfleet.domain.minutes import unpack
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


class Report(NamedTuple):
    """Numbers that a device reported at one moment, ms since the epoch, by name."""

    values: Mapping[str, float]
    at_ms: int


async def put(store: Store, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
    """Store readings of one moment, ms since the epoch; those of other names stay."""
    await put_all(store, {device_id: Report({name: float(value) for name, value in values.items()}, at_ms)})


async def put_all(store: Store, reports: Mapping[str, Report]) -> None:
    """Store what devices of one partition reported, by hardware id; readings of other names stay."""
    touched: list[str] = []
    words: list[str | int | float] = [TTL_MS, MAX_NAMES]
    part = shard_of(next(iter(reports), ""), store.shards)
    # Of a thousand devices all but the end is the same.
    latest, minutes = store.keys.readings(part, ""), store.keys.minutes(part, "")
    for device_id, (values, at_ms) in reports.items():
        if values:
            touched += latest + device_id, minutes + device_id
            words += at_ms, len(values), *values, *values.values()
    if touched:
        await store.run("put_readings", touched, words)


def some(reports: Mapping[str, Report], at_once: int) -> Iterator[dict[str, Report]]:
    """Return reports in parts of at most so many devices."""
    waiting = iter(reports.items())
    while part := dict(islice(waiting, at_once)):
        yield part


def partitioned(store: Store, reports: Mapping[str, Report]) -> list[dict[str, Report]]:
    """Return reports by the partition of their devices: those of one can be stored together."""
    by_part: dict[int, dict[str, Report]] = {}
    for device_id, one in reports.items():
        by_part.setdefault(shard_of(device_id, store.shards), {})[device_id] = one
    return list(by_part.values())


async def report(store: Store, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
    """Store readings of one moment, and tell whoever listens."""
    await put(store, device_id, values, at_ms)
    await tell(store, {device_id: Report(values, at_ms)})


async def tell(store: Store, reports: Mapping[str, Report]) -> None:
    """Tell whoever listens what devices reported, by hardware id; those of many in one message."""
    messages = []
    for part in some(reports, TOLD_AT_ONCE):
        told = {device_id: (one.at_ms, dict(one.values)) for device_id, one in part.items()}
        messages.append(("SPUBLISH", store.keys.readings_channel(), json.dumps(told, separators=(",", ":"))))
    await store.do_all(messages)


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
    """Return what a reading was since ``since_ms``: at most one a minute, over the last day of it, oldest first."""
    part = shard_of(device_id, store.shards)
    key = store.keys.minutes(part, device_id)
    fields, older = await store.do_all(
        [("HKEYS", key), ("XRANGE", store.keys.minutes_before(part, device_id), "-", "+")]
    )
    wanted = [field for field in fields if field.partition(b" ")[2] == name.encode()]
    packed = await store.do("HMGET", key, *wanted) if wanted else []
    found = [_reading(texts[name.encode()]) for _, texts in older if name.encode() in texts]
    for field, minutes in zip(wanted, packed, strict=True):
        # It may have gone since it was listed.
        found += [Reading(value, at_ms) for at_ms, value in unpack(int(field.split()[0]), minutes or b"")]
    found.sort(key=lambda reading: reading.at_ms)
    first_ms = max(since_ms, found[-1].at_ms - TTL_MS + 1) if found else 0
    return [reading for reading in found if reading.at_ms >= first_ms]


def _reading(text: bytes) -> Reading:
    at_ms, _, value = text.partition(b" ")
    return Reading(float(value), int(at_ms))

"""The outbox of metrics: a stream that one sender at a time reads, and what nobody takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.domain.points import ENTRY_POINTS, Point, pack, unpack
from espfleet.errors import StoreError
from espfleet.store.client import Command, Store
from espfleet.store.faults import GroupGoneError, translated

GROUP = "datadog"
#: Name of the one who reads by hand, as in EspNet.
ROOT = "root"
#: Entries that are kept, roughly: more than an hour of five a second, which take up some 120 MB if all are full.
KEPT = 20_000
KEPT_DEAD = 1_000


@dataclass(frozen=True, slots=True)
class Packed:
    """One entry of the outbox."""

    entry_id: str
    points: tuple[Point, ...]


async def append(store: Store, points: Sequence[Point]) -> int:
    """Put points into the outbox; return how many entries it holds then."""
    key = store.keys.outbox()
    commands: list[Command] = [
        ("XADD", key, "MAXLEN", "~", KEPT, "*", "p", pack(points[start : start + ENTRY_POINTS]))
        for start in range(0, len(points), ENTRY_POINTS)
    ]
    return int((await store.do_all([*commands, ("XLEN", key)]))[-1])


async def make_group(store: Store) -> bool:
    """Make the group that reads the outbox from its beginning; return whether there was none."""
    try:
        await store.do("XGROUP", "CREATE", store.keys.outbox(), GROUP, "0", "MKSTREAM")
    except StoreError as exc:
        if "BUSYGROUP" in str(exc):
            return False
        raise
    return True


async def read(store: Store, consumer: str, count: int) -> list[Packed]:
    """Return up to ``count`` entries that nobody has read."""
    return await _read(store, consumer, ">", count)


async def read_own(store: Store, consumer: str, count: int) -> list[Packed]:
    """Return up to ``count`` entries that this consumer has read and not acknowledged."""
    return await _read(store, consumer, "0", count)


async def _read(store: Store, consumer: str, after: str, count: int) -> list[Packed]:
    command = ("XREADGROUP", "GROUP", GROUP, consumer, "COUNT", count, "STREAMS", store.keys.outbox(), after)
    try:
        reply = await store.do(*command)
    except GroupGoneError:
        await make_group(store)
        reply = await store.do(*command)
    return _packed(reply[0][1]) if reply else []


async def claim(store: Store, consumer: str, idle_ms: int, count: int = 100) -> list[Packed]:
    """Take over up to ``count`` entries that somebody read more than ``idle_ms`` ago and has not acknowledged."""
    try:
        reply = await store.do("XAUTOCLAIM", store.keys.outbox(), GROUP, consumer, idle_ms, "0-0", "COUNT", count)
    except GroupGoneError:
        await make_group(store)
        return []
    return _packed(reply[1])


async def claim_one(store: Store, consumer: str, idle_ms: int, entry_id: str) -> list[Packed]:
    """Take over one entry, if it was read more than ``idle_ms`` ago."""
    return _packed(await store.do("XCLAIM", store.keys.outbox(), GROUP, consumer, idle_ms, entry_id))


async def ack(store: Store, entry_ids: Sequence[str]) -> int:
    """Say that entries are sent; return how many were waiting for that."""
    if not entry_ids:
        return 0
    key = store.keys.outbox()
    acked, _ = await store.do_all([("XACK", key, GROUP, *entry_ids), ("XDEL", key, *entry_ids)], atomic=True)
    return int(acked)


async def bury(store: Store, points: Sequence[Point], why: str) -> None:
    """Put points that nobody takes aside, with the reason."""
    key = store.keys.dead_metrics()
    await store.do_all(
        [
            ("XADD", key, "MAXLEN", "~", KEPT_DEAD, "*", "why", why, "p", pack(points[start : start + ENTRY_POINTS]))
            for start in range(0, len(points), ENTRY_POINTS)
        ]
    )


async def dead(store: Store, count: int = 100) -> list[tuple[str, list[Point]]]:
    """Return the latest points that nobody took, each entry with its reason."""
    rows = await store.do("XREVRANGE", store.keys.dead_metrics(), "+", "-", "COUNT", count)
    return [(fields[b"why"].decode(), unpack(fields[b"p"])) for _, fields in rows]


async def info(store: Store) -> dict[str, Any]:
    """Return the state of the outbox: entries in it, read and not acknowledged, not read; and of the dead."""
    await make_group(store)
    key = store.keys.outbox()
    groups, length, dead_length, first = await store.do_all(
        [
            ("XINFO GROUPS", key),
            ("XLEN", key),
            ("XLEN", store.keys.dead_metrics()),
            ("XRANGE", key, "-", "+", "COUNT", 1),
        ]
    )
    group: Mapping[Any, Any] = next(one for one in groups if one["name"] == GROUP.encode())
    return {
        "group": GROUP,
        "entries": int(length),
        "pending": int(group["pending"]),
        "unread": max(0, int(length) - int(group["pending"])),
        "consumers": int(group["consumers"]),
        "last_delivered_id": group["last-delivered-id"].decode(),
        "oldest_id": first[0][0].decode() if first else None,
        "dead_entries": int(dead_length),
    }


async def pending(store: Store, count: int = 100) -> list[dict[str, Any]]:
    """Return entries that were read and are not acknowledged: id, by whom, how long ago in ms, how often."""
    await make_group(store)
    with translated(store.url):
        # The client's own way: only so it knows that these are not replies of the short form, also on a Cluster.
        rows = await store.redis.xpending_range(store.keys.outbox(), GROUP, "-", "+", count)
    return [
        {
            "id": row["message_id"].decode(),
            "consumer": row["consumer"].decode(),
            "idle_ms": int(row["time_since_delivered"]),
            "times": int(row["times_delivered"]),
        }
        for row in rows
    ]


def _packed(rows: Sequence[Any]) -> list[Packed]:
    return [
        Packed(entry_id.decode(), tuple(unpack(fields.get(b"p", b""))) if fields else ()) for entry_id, fields in rows
    ]

"""Who is there. A device is alive while its key exists, which expires with its watchdog unless it is heard again.

All times are of Redis's clock, so that gateways may have their own. What a device's session says about itself is a
hash; whether it is there is decided when somebody asks. The sweep tells, once, of those that nobody said goodbye for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.domain.devices import Dialect, Presence, Reason
from espfleet.domain.shards import shard_of
from espfleet.domain.visits import KEPT
from espfleet.store import events
from espfleet.store.client import Call, Command, Store

#: Kind of the events this module records.
EVENT = "presence"
#: Stands for the gateway of devices that are known to live because they answered, or asked, over HTTP.
HTTP = "http"
SESSION_TTL_MS = 7 * 24 * 3_600_000
VISITS_TTL_MS = 30 * 24 * 3_600_000
#: When Redis was away, gateways have so long to say who lives; as long as the usual watchdog.
GRACE_S = 3.0
#: Devices in one run of a script: each run keeps the server busy for about a millisecond.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """A device on one open connection.

    Attributes:
        session_id: Made by the gateway, never used twice.
        gateway: Name of the gateway.
        watchdog_ms: Silence after which the device is offline.
        peer: Where it connects from.
        dialect: What it speaks.
        firmware, chip: What it told of itself, or ``""``.
        since_ms: When it began, ms since the epoch.
        stays: Whether it is told again because it has answered while another session of the device is alive too.
    """

    session_id: str
    gateway: str
    watchdog_ms: int
    peer: str = ""
    dialect: Dialect = Dialect.V1
    firmware: str = ""
    chip: str = ""
    since_ms: int = 0
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceInfo:
    """What is known of a device's presence.

    Attributes:
        presence: Whether it is there.
        reason: Why it is not live, or ``None``.
        seen_ms: When it was heard last, ms since the epoch, or ``None`` if never.
        since_ms: When its latest session began, or ``None``.
        up_ms: Since when it is there without a break, or was the last time, or ``None``.
        changed_ms: When its presence changed last, or ``None``.
        gateway, session_id, peer: Of its latest session, or ``""``.
        dialect: What it spoke then, or ``None``.
        firmware, chip: What it told of itself then, or ``""``.
    """

    presence: Presence
    reason: Reason | None
    seen_ms: int | None = None
    since_ms: int | None = None
    up_ms: int | None = None
    changed_ms: int | None = None
    gateway: str = ""
    session_id: str = ""
    peer: str = ""
    dialect: Dialect | None = None
    firmware: str = ""
    chip: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """A device the sweep found offline."""

    device_id: str
    gateway: str
    reason: Reason


NEVER = PresenceInfo(presence=Presence.OFFLINE, reason=Reason.NEVER)


async def came(store: Store, device_id: str, session: Session) -> None:
    """Record that a device has come: it is live, and this is its session from now on."""
    await came_all(store, {device_id: session})


async def came_all(store: Store, sessions: Mapping[str, Session]) -> None:
    """Record that devices have come, each with its session: after a restart of a gateway they come by thousands."""
    ids = list(sessions)
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        await store.run_all([_came(store, device_id, sessions[device_id]) for device_id in some])
        told = [_came_fields(device_id, sessions[device_id]) for device_id in some]
        await events.add_all(store, EVENT, told)


def _came(store: Store, device_id: str, session: Session) -> Call:
    fields: dict[str, str | int] = {
        "session": session.session_id,
        "gateway": session.gateway,
        "watchdog_ms": session.watchdog_ms,
        "peer": session.peer,
        "dialect": session.dialect.value,
        "firmware": session.firmware,
        "chip": session.chip,
    }
    if session.stays:
        fields["since_ms"] = session.since_ms
    words: list[str | int] = [device_id, SESSION_TTL_MS, VISITS_TTL_MS, KEPT]
    for name, value in fields.items():
        words += [name, value]
    return Call("came", _keys(store, device_id), words)


async def refresh(store: Store, gateway: str, left_ms: Mapping[str, int]) -> list[str]:
    """Keep devices alive: one script for each partition (and 500 devices).

    Args:
        store: Where the fleet is kept.
        gateway: Name of the gateway they are connected to.
        left_ms: By hardware id, how long the device may still be silent: its watchdog less its silence until now.

    Returns:
        Ids of devices whose session Redis does not know, because it was emptied; call ``came`` for them.
    """
    calls = []
    for part, ids in _by_partition(store, left_ms).items():
        for some in _pieces(ids):
            words: list[str | int] = [gateway, SESSION_TTL_MS]
            for device_id in some:
                words += [device_id, left_ms[device_id]]
            calls.append(Call("refresh", _many_keys(store, part, some), words))
    return [device_id.decode() for missing in await store.run_all(calls) for device_id in missing]


async def changed(
    store: Store, device_id: str, session_id: str, presence: Presence, reason: Reason | None = None
) -> bool:
    """Record that a connected device is late, or live again.

    Returns:
        Whether it was news: ``False`` if it is so already, or another session has taken this one's place.
    """
    words = [device_id, session_id, presence.value, reason.value if reason else ""]
    gateway = await store.run("changed", _keys(store, device_id), words)
    if gateway is None:
        return False
    await _record(store, device_id, presence, reason, gateway.decode())
    return True


async def went(store: Store, device_id: str, session_id: str, reason: Reason) -> bool:
    """Record that a session has ended; a newer session of the same device stays as it is.

    Returns:
        Whether the device is offline by this: ``False`` if it was, or another session has taken this one's place.
    """
    words: list[str | int] = [device_id, session_id, reason.value, VISITS_TTL_MS, KEPT]
    gateway = await store.run("went", _keys(store, device_id), words)
    if gateway is None:
        return False
    await _record(store, device_id, Presence.OFFLINE, reason, gateway.decode())
    return True


async def forget(store: Store, device_id: str) -> None:
    """Remove everything known of a device that is no longer registered."""
    await store.do_all(_forgetting(store, device_id), atomic=True)
    await store.do("HDEL", store.keys.tags(), device_id)


async def forget_all(store: Store, device_ids: Iterable[str]) -> None:
    """Do the same for many devices; of each, what is left if this is interrupted expires by itself."""
    for some in _pieces(list(device_ids)):
        await store.do_all([command for device_id in some for command in _forgetting(store, device_id)])
        await store.do("HDEL", store.keys.tags(), *some)


def _forgetting(store: Store, device_id: str) -> list[Command]:
    part = shard_of(device_id, store.shards)
    keys = store.keys
    alive, due, session, visits = _keys(store, device_id)
    told = [key(part, device_id) for key in (keys.readings, keys.minutes, keys.minutes_before)]
    board = [keys.board(part, device_id), keys.wishes(part, device_id)]
    camera = [keys.picture(part, device_id), keys.video(part, device_id), keys.arrivals(part, device_id)]
    gone = [alive, session, visits, *told, *board, *camera]
    return [("DEL", *gone), ("ZREM", due, device_id)]


async def read_presence(store: Store, device_ids: Iterable[str]) -> dict[str, PresenceInfo]:
    """Return what is known of each of these devices, by id."""
    calls = []
    order: list[str] = []
    for part, ids in _by_partition(store, device_ids).items():
        for some in _pieces(ids):
            order += some
            calls.append(Call("read_presence", _many_keys(store, part, some), some))
    rows = [row for rows in await store.run_all(calls) for row in rows]
    return {device_id: _info(*row) for device_id, row in zip(order, rows, strict=True)}


async def overdue(store: Store) -> list[str]:
    """Return the ids of devices whose time has run out and that nobody has swept yet."""
    until, start, found = [await store.time_ms()] * store.shards, 0, list[bytes]()
    while any(parts := await store.do_all(_due(store, until, "LIMIT", start, _AT_ONCE))):
        found += [device_id for ids in parts for device_id in ids]
        start += _AT_ONCE
    return [device_id.decode() for device_id in found]


def _due(store: Store, until: Sequence[str | int], *more: str | int) -> list[Command]:
    """Return what asks each partition for the devices that are due until a moment."""
    return [("ZRANGEBYSCORE", store.keys.due(part), "-inf", until[part], *more) for part in range(store.shards)]


async def times(store: Store) -> list[int]:
    """Return what the clock of each partition's server shows, ms since the epoch.

    Raises:
        StoreError: If one cannot be reached, or a server of a Cluster takes nothing that it is told.
    """
    if not store.on_cluster:
        return [await store.time_ms()] * store.shards
    calls = [Call("times", [store.keys.due(part)], []) for part in range(store.shards)]
    return [int(one) for one in await store.run_all(calls)]


async def sweep(store: Store, times_ms: Sequence[int], *, everywhere: bool = False) -> list[Gone]:
    """Find devices whose time has run out unnoticed, and record for each, once, that it is offline.

    Any number of workers may sweep at once, and any of them may die meanwhile: what one has found and not recorded,
    the next one records. None is found if a server has been frozen since ``times_ms``, or its clock was set: who is
    alive is not known then.

    Args:
        store: Where the fleet is kept.
        times_ms: What ``times`` has just returned.
        everywhere: Look at those too whose time has not run out: none may have more of it than its watchdog, as it has
            after the clock of Redis was set back.
    """
    parts = range(store.shards)
    found_due = _due(store, ["+inf"] * store.shards) if everywhere else _due(store, times_ms, "LIMIT", 0, _AT_ONCE)
    unsaid: list[Command] = [("ZCARD", store.keys.gone(part)) for part in parts]
    replies = await store.do_all([*found_due, *unsaid])
    calls = []
    for part in parts:
        found_ids = [device_id.decode() for device_id in replies[part]]
        pieces = _pieces(found_ids)
        if not pieces and replies[store.shards + part]:
            pieces = [[]]
        for ids in pieces:
            due, *others = _many_keys(store, part, ids)
            visits = [store.keys.visits(part, device_id) for device_id in ids]
            words: list[str | int] = [VISITS_TTL_MS, KEPT, HTTP, times_ms[part], *ids]
            calls.append(Call("sweep", [due, store.keys.gone(part), *others, *visits], words))
    found = dict.fromkeys(row for rows in await store.run_all(calls) for row in rows)
    return list(await asyncio.gather(*(_bury(store, row) for row in found)))


async def _bury(store: Store, row: bytes) -> Gone:
    """Record that a device found by the sweep is offline."""
    device_id, died_ms, reason, gateway = row.decode().split(" ", 3)
    gone = Gone(device_id, gateway, Reason(reason.replace("_", " ")))
    mark = f"offline:{device_id}:{died_ms}"
    await _record(store, device_id, Presence.OFFLINE, gone.reason, gateway, mark)
    await store.do("ZREM", store.keys.gone(shard_of(device_id, store.shards)), row)
    return gone


async def _record(
    store: Store, device_id: str, presence: Presence, reason: Reason | None, gateway: str, mark: str = ""
) -> None:
    await events.add(store, EVENT, _fields(device_id, presence, reason, gateway), mark)


def _fields(device_id: str, presence: Presence, reason: Reason | None, gateway: str) -> dict[str, str | None]:
    """Return what an event of this module tells."""
    return {
        "device": device_id,
        "presence": presence.value,
        "reason": reason.value if reason else None,
        "gateway": gateway,
    }


def _came_fields(device_id: str, session: Session) -> dict[str, str | int | bool | None]:
    """Return what is told of a device that has come, with all that other gateways need to settle whose it is."""
    fields = _fields(device_id, Presence.LIVE, None, session.gateway)
    return {**fields, "since_ms": session.since_ms, "stays": session.stays}


def _info(alive: int, until_ms: bytes | None, flat: Sequence[bytes]) -> PresenceInfo:
    """Return what the reply of ``read_presence.lua`` for one device means."""
    texts = [word.decode() for word in flat]
    row: dict[str, Any] = dict(zip(texts[::2], texts[1::2], strict=True))
    if not row:
        return PresenceInfo(presence=Presence.LIVE, reason=None) if alive else NEVER
    told = Presence(row["presence"])
    presence, reason = Presence.LIVE, None
    if not alive:
        presence = Presence.OFFLINE
        # A gateway that lives says that a device is late before its time is out; one that died cannot.
        unsaid = {
            Presence.LIVE: Reason.SILENT if row["gateway"] == HTTP else Reason.GATEWAY,
            Presence.LATE: Reason.SILENT,
        }
        reason = unsaid.get(told) or Reason(row["reason"])
    elif told is Presence.LATE:
        presence, reason = Presence.LATE, Reason.SILENT
    seen_ms = float(until_ms) - int(row["watchdog_ms"]) if until_ms is not None else float(row["seen_ms"])
    return PresenceInfo(
        presence=presence,
        reason=reason,
        seen_ms=int(seen_ms),
        since_ms=int(row["since_ms"]),
        up_ms=int(row.get("up_ms", row["since_ms"])),
        changed_ms=int(row["changed_ms"]),
        gateway=row["gateway"],
        session_id=row["session"],
        peer=row["peer"],
        dialect=Dialect(row["dialect"]),
        firmware=row.get("firmware", ""),
        chip=row.get("chip", ""),
    )


def _by_partition(store: Store, device_ids: Iterable[str]) -> dict[int, list[str]]:
    parts: dict[int, list[str]] = {}
    for device_id in device_ids:
        parts.setdefault(shard_of(device_id, store.shards), []).append(device_id)
    return parts


def _pieces(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE)]


def _keys(store: Store, device_id: str) -> tuple[str, str, str, str]:
    part, keys = shard_of(device_id, store.shards), store.keys
    return (
        keys.alive(part, device_id),
        keys.due(part),
        keys.session(part, device_id),
        keys.visits(part, device_id),
    )


def _many_keys(store: Store, part: int, device_ids: Iterable[str]) -> list[str]:
    keys = store.keys
    pairs = ((keys.alive(part, device_id), keys.session(part, device_id)) for device_id in device_ids)
    return [keys.due(part), *(key for pair in pairs for key in pair)]

"""``watch``: the fleet as it is, until Ctrl-C."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from espfleet.cli import output
from espfleet.cli.devices import device_table
from espfleet.cli.devices import to_json as device_json
from espfleet.cli.groups import to_json as group_json
from espfleet.cli.opening import with_store
from espfleet.cli.rooms import room_table
from espfleet.domain.names import check_number
from espfleet.errors import StoreError
from espfleet.services import devices, groups, rooms
from espfleet.services.devices import DeviceView
from espfleet.services.groups import GroupView
from espfleet.services.rooms import RoomView
from espfleet.store.client import Store

if TYPE_CHECKING:
    from rich.console import RenderableType

Found = TypeVar("Found")

LOOK_S = 0.5
#: What was seen is not shown any longer while the next look takes more than this: it may not be true any more.
TRUE_S = 2.5
#: A look at a large fleet takes long; between two there is this many times as much pause, at most ``TRUE_S``.
PAUSE_RATIO = 5
#: Rows that fit on a screen; more lamps are counted.
MOST_LAMPS = 40


def watch(seconds: str) -> None:
    """Show the fleet live; into a pipe, each change as one line of JSON."""
    for_s = check_number(seconds, "seconds", 0, 86_400, "s")
    until_s = time.monotonic() + for_s if for_s else None
    look = _lines if output.for_programs() else _screen
    with_store(lambda store: look(store, until_s))


async def _pause(began_s: float) -> None:
    took_s = time.monotonic() - began_s
    # A look that had to wait for Redis is none of a large fleet.
    await asyncio.sleep(min(max(LOOK_S, PAUSE_RATIO * took_s), TRUE_S))


def _goes_on(until_s: float | None) -> bool:
    return until_s is None or time.monotonic() < until_s


async def _screen(store: Store, until_s: float | None) -> None:
    from rich.live import Live

    with Live(console=output.console(), auto_refresh=False) as live:

        def nothing_known(why: str) -> None:
            live.update(f"Nothing is known: {why}", refresh=True)

        async def look() -> RenderableType:
            at_ms = await store.time_ms()
            return fleet_page(await rooms.views(store, now_ms=at_ms), await devices.views(store, now_ms=at_ms), at_ms)

        while _goes_on(until_s):
            began_s = time.monotonic()
            try:
                live.update(await _found(look(), nothing_known), refresh=True)
            except StoreError as exc:
                nothing_known(str(exc))
            await _pause(began_s)


async def _found(look: Coroutine[Any, Any, Found], nothing_known: Callable[[str], None]) -> Found:
    """Return what a look finds; if it takes long, say meanwhile that nothing is known."""
    looking = asyncio.create_task(look)
    try:
        found, _ = await asyncio.wait([looking], timeout=TRUE_S)
        if not found:
            nothing_known(f"Redis has not answered for {TRUE_S:g} s")
        return await looking
    finally:
        looking.cancel()


def fleet_page(room_views: list[RoomView], device_views: list[DeviceView], at_ms: int) -> RenderableType:
    """Return rooms and lamps as one page."""
    from rich.console import Group as Stack

    shown = device_views[:MOST_LAMPS]
    parts: list[RenderableType] = [room_table(room_views), device_table(shown, at_ms)]
    if device_views[MOST_LAMPS:]:
        parts.append(f"and {len(device_views) - MOST_LAMPS} more lamps: ./espcli devices")
    return Stack(*parts)


async def _lines(store: Store, until_s: float | None) -> None:
    """Print what is new: first everything, then each change of a level or a presence."""
    known: dict[tuple[str, str], tuple[Any, ...]] = {}
    away = False

    def nothing_known(why: str) -> None:
        nonlocal away
        if not away:
            away = True
            # Afterwards everything is news.
            known.clear()
            _print({"kind": "trouble", "at_ms": store.now_ms(), "error": why})

    async def look() -> tuple[int, list[GroupView], list[DeviceView]]:
        at_ms = await store.time_ms()
        return at_ms, await groups.views(store, now_ms=at_ms), await devices.views(store, now_ms=at_ms)

    while _goes_on(until_s):
        began_s = time.monotonic()
        try:
            at_ms, group_views, device_views = await _found(look(), nothing_known)
        except StoreError as exc:
            nothing_known(str(exc))
            await _pause(began_s)
            continue
        away = False
        found = [("level", group_json(view)) for view in group_views]
        found += [("device", device_json(view)) for view in device_views]
        for kind, row in found:
            key = (kind, row["name"])
            watched = ("level", "state", "reason") if kind == "level" else ("presence", "offline_reason", "room")
            value = tuple(row[name] for name in watched)
            if known.get(key) != value:
                known[key] = value
                _print({"kind": kind, "at_ms": at_ms, **row})
        await _pause(began_s)


def _print(row: dict[str, Any]) -> None:
    print(output.as_json(row))
    sys.stdout.flush()

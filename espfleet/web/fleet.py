"""The fleet as a whole over HTTP: the wall, levels, why, events, workers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from espfleet.domain.devices import Dialect
from espfleet.domain.groups import PRESETS, Combine
from espfleet.services import devices, levels
from espfleet.services import events as event_service
from espfleet.services import why as why_service
from espfleet.store import events, registry, workers
from espfleet.web.context import Context, Here
from espfleet.web.live import event_row, level_row
from espfleet.web.session import who

router = APIRouter(tags=["fleet"])
#: Without a token: it tells of the fleet only who may look.
open_router = APIRouter(tags=["fleet"])
ROLES = ("prober", "leveler", "gateway", "steward", "web")


@router.get("/wall", response_class=JSONResponse)
async def wall(here: Here) -> JSONResponse:
    """Show all that the dashboard's first page needs, in one short answer; `live` is where `/api/live` goes on."""
    return JSONResponse(await wall_of(here))


@open_router.get("/first", response_class=JSONResponse)
async def first(here: Here, request: Request) -> JSONResponse:
    """Show what a browser needs that has just opened the dashboard: who it is, and, if it may look, the wall."""
    me = await who(here, request)
    return JSONResponse({"session": me, "wall": await wall_of(here) if me["role"] else None})


async def wall_of(here: Context) -> dict[str, Any]:
    """Return all that the dashboard's first page needs."""
    # Before anything is read, so that nothing is missed in between.
    position = here.live.position
    now_ms = here.clock()
    current = await registry.latest(here.store)
    views = await devices.views_of(here.store, current=current, chosen=current.devices_by_name, now_ms=now_ms)
    found = await levels.read(here.store, registry=current, now_ms=now_ms)
    return {
        "at_ms": now_ms,
        "live": position,
        "version": current.version,
        "rooms": [
            {"name": room.name, "group": room.group, "brightness": room.brightness, "labels": room.labels}
            for room in sorted(current.rooms.values(), key=lambda room: room.name)
        ],
        "groups": {name: level_row(level) for name, level in sorted(found.items())},
        "devices": [
            {
                "id": view.device.id,
                "name": view.device.name,
                "room": view.device.room,
                "group": view.group,
                "brightness": current.brightness_of(view.device),
                "presence": view.presence.value,
                "offline_reason": view.reason.value if view.reason else None,
                "changed_ms": view.changed_ms,
                "seen_ms": view.seen_ms,
                "simulated": view.device.simulated,
                "lamp": view.device.glows,
            }
            for view in views
        ],
        "targets": len(current.targets),
        "choices": {
            "presets": list(PRESETS),
            "combine": [word.value for word in Combine],
            "dialects": [word.value for word in Dialect],
            "targets": sorted(current.targets),
        },
    }


@router.get("/levels")
async def list_levels(here: Here) -> list[dict[str, Any]]:
    """List the level of every group."""
    current = await registry.latest(here.store)
    found = await levels.read(here.store, registry=current, now_ms=here.clock())
    return [level_row(level) for _, level in sorted(found.items())]


@router.get("/why/{name}")
async def why(
    here: Here,
    name: str,
    kind: Annotated[
        str, Query(pattern="^(device|room|group|target)?$", description="where several have the name")
    ] = "",
) -> dict[str, Any]:
    """Explain a level: every contribution of every target, with what it was made of."""
    asked = f"{kind} {name}" if kind else name
    return asdict(await why_service.why(here.store, name=asked, now_ms=here.clock()))


@router.get("/events")
async def list_events(
    here: Here,
    since: Annotated[
        str, Query(pattern="^[0-9]{1,15}(-[0-9]{1,15})?$|^$", description="id of the last event known")
    ] = "",
    kind: Annotated[str, Query(max_length=64)] = "",
    device: Annotated[str, Query(max_length=64, description="name or id")] = "",
    each: Annotated[bool, Query(description="also the events of single devices that an outage stands for")] = False,
    limit: Annotated[int, Query(ge=1, le=1_000)] = 100,
) -> list[dict[str, Any]]:
    """List what happened: after an event, each of them, oldest first; or the latest, newest first."""
    # What is wanted is picked out of what there is; ten times the wanted number finds rare things too.
    count = min(limit * 10, event_service.MOST) if kind or device else limit
    device_id = (await registry.latest(here.store)).device(device).id if device else ""
    if since:
        found = await events.read(here.store, since, count)
    else:
        found = await event_service.latest(here.store, count=count, each=each or bool(kind or device))
    return [
        event_row(event)
        for event in found
        if (not kind or event.kind == kind) and (not device or event.fields.get("device") == device_id)
    ][:limit]


@router.get("/workers")
async def list_workers(here: Here) -> dict[str, dict[str, Any]]:
    """List the living workers of each role, with what they tell about themselves."""
    return {role: dict(await workers.alive(here.store, role)) for role in ROLES}

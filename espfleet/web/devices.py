"""Devices over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from espfleet.domain.devices import Device, Dialect, Presence
from espfleet.services import devices, telling
from espfleet.services.registering import register_at
from espfleet.store import registry, roll_call, visits
from espfleet.web.access import ADMIN, OPERATOR
from espfleet.web.context import Here
from espfleet.web.paging import After, Label, Limit, Page, Search, cut, matches
from espfleet.web.rows import DeviceRow, device_row, told_row
from espfleet.web.shapes import Command, DeviceEdit, NewDevice

router = APIRouter(prefix="/devices", tags=["devices"])


@router.get("")
async def list_devices(
    here: Here,
    room: Annotated[str, Query(max_length=64)] = "",
    state: Presence | None = None,
    label: Label = "",
    q: Search = "",
    limit: Limit = 100,
    after: After = "",
) -> Page:
    """List devices: those of a room, with a presence, with a label, or that a search finds."""
    current = await registry.latest(here.store)
    chosen: Sequence[Device] = current.devices_by_name
    if room:
        chosen = [device for device in chosen if device.room == room]
    if label:
        chosen = [device for device in chosen if label in device.labels]
    if q:
        chosen = [device for device in chosen if matches(q, device.name, device.id, device.address, *device.labels)]
    if state is not None:
        there = await roll_call.those_there(here.store)
        chosen = [device for device in chosen if there.get(device.id, Presence.OFFLINE) is state]
    page, following = cut(chosen, lambda device: device.name, after, limit)
    shown = await devices.views_of(here.store, current=current, chosen=page, now_ms=here.clock())
    return Page(items=[device_row(view) for view in shown], next=following, total=len(chosen))


@router.post("", status_code=201, dependencies=[ADMIN])
async def register(here: Here, wish: NewDevice, response: Response) -> dict[str, Any]:
    """Register a device, or bring what is stored of it up to date (200); its token is told this once."""
    response.headers["Cache-Control"] = "no-store"
    handed_over, refusal = False, ""
    if wish.id:
        done = await devices.register(
            here.store,
            device_id=wish.id,
            name=wish.name,
            now_ms=here.clock(),
            address=wish.address,
            room=wish.room,
            labels=wish.labels,
            dialect=wish.dialect,
            token_wanted=wish.new_token,
        )
    else:
        found = await register_at(
            here.store,
            address=wish.address,
            name=wish.name,
            now_ms=here.clock(),
            gateway_url=here.settings.gateway_url,
            room=wish.room,
            dialect=wish.dialect,
            token_wanted=wish.new_token,
            boards=here.boards,
        )
        done, handed_over, refusal = found.done, found.handed_over, found.refusal
    if not done.new:
        response.status_code = 200
    needs_token = not handed_over and done.device.dialect is not Dialect.PINGLAMP
    return {
        "name": done.device.name,
        "id": done.device.id,
        "room": done.device.room,
        "new": done.new,
        "handed_over": handed_over,
        "refusal": refusal,
        "token": done.token if needs_token else None,
    }


@router.get("/{name}")
async def show_device(here: Here, name: str) -> DeviceRow:
    """Show one device."""
    return device_row(await devices.view(here.store, name=name, now_ms=here.clock()))


@router.patch("/{name}", dependencies=[ADMIN])
async def edit_device(here: Here, name: str, wish: DeviceEdit) -> DeviceRow:
    """Rename or move a device, let it show a group of its own choice, or set its own brightness."""
    given = wish.model_fields_set
    if "room" in given and wish.room is not None:
        await devices.move(here.store, name=name, room=wish.room)
    if "group" in given:
        await devices.show_group(here.store, name=name, group=wish.group)
    if "brightness" in given:
        await devices.set_brightness(here.store, name=name, percent=wish.brightness)
    if "name" in given and wish.name is not None:
        name = (await devices.rename(here.store, name=name, new_name=wish.name)).name
    return await show_device(here, name)


@router.delete("/{name}", status_code=204, dependencies=[ADMIN])
async def unregister(here: Here, name: str) -> None:
    """Take a device out of the fleet; its session is closed."""
    await devices.unregister(here.store, name=name)


@router.get("/{name}/sessions")
async def list_sessions(here: Here, name: str) -> list[dict[str, Any]]:
    """List when a device was connected, the latest first; `went_ms` is null while it is."""
    view = await devices.view(here.store, name=name, now_ms=here.clock())
    found: list[dict[str, Any]] = [asdict(one) for one in reversed(await visits.read(here.store, view.device.id))]
    if view.presence is not Presence.OFFLINE and view.since_ms is not None:
        found.insert(0, {"came_ms": view.since_ms, "went_ms": None})
    return found


@router.post("/{name}/commands", dependencies=[OPERATOR])
async def tell_device(here: Here, name: str, wish: Command) -> dict[str, Any]:
    """Tell a device to do something now, and wait for its answer."""
    told = await telling.tell(
        here.store,
        name=name,
        action=wish.action,
        arguments=wish.arguments,
        timeout_ms=wish.timeout_ms,
        now_ms=here.clock(),
    )
    if told.ok:
        here.live.tell("told", told_row(told, wish, here.clock()))
    return asdict(told)

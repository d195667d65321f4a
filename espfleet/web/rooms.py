"""Rooms over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from espfleet.errors import InvalidError
from espfleet.services import rooms, telling
from espfleet.web.access import ADMIN, OPERATOR
from espfleet.web.context import Here
from espfleet.web.paging import After, Label, Limit, Page, Search, matches, page_of
from espfleet.web.rows import RoomRow, room_row, told_row
from espfleet.web.shapes import Command, NewRoom, RoomEdit

router = APIRouter(prefix="/rooms", tags=["rooms"])


@router.get("")
async def list_rooms(here: Here, label: Label = "", q: Search = "", limit: Limit = 100, after: After = "") -> Page:
    """List rooms, each with the level its lamps show."""
    views = await rooms.views(here.store, now_ms=here.clock())
    found = [
        view
        for view in views
        if matches(q, view.room.name, *view.room.labels) and (not label or label in view.room.labels)
    ]
    return page_of(found, lambda view: view.room.name, room_row, after, limit)


@router.post("", status_code=201, dependencies=[ADMIN])
async def add_room(here: Here, wish: NewRoom) -> RoomRow:
    """Make a room; doing it twice changes nothing."""
    await rooms.add(here.store, name=wish.name, group=wish.group, brightness=wish.brightness, labels=wish.labels)
    return await show_room(here, wish.name)


@router.get("/{name}")
async def show_room(here: Here, name: str) -> RoomRow:
    """Show one room."""
    return room_row(await rooms.view(here.store, name=name, now_ms=here.clock()))


@router.patch("/{name}", dependencies=[ADMIN])
async def edit_room(here: Here, name: str, wish: RoomEdit) -> RoomRow:
    """Let the lamps of a room show another group, or be more or less bright."""
    given = wish.model_fields_set
    if "group" in given:
        if wish.group is None:
            raise InvalidError("a room must watch a group", field="group")
        await rooms.watch_group(here.store, name=name, group=wish.group)
    if "brightness" in given:
        await rooms.set_brightness(here.store, name=name, percent=wish.brightness)
    return await show_room(here, name)


@router.delete("/{name}", status_code=204, dependencies=[ADMIN])
async def remove_room(here: Here, name: str) -> None:
    """Remove a room that is empty."""
    await rooms.remove(here.store, name=name)


@router.post("/{name}/commands", dependencies=[OPERATOR])
async def tell_room(here: Here, name: str, wish: Command) -> list[dict[str, Any]]:
    """Tell every device of a room to do something now; one result for each."""
    answers = await telling.tell_room(
        here.store,
        room=name,
        action=wish.action,
        arguments=wish.arguments,
        timeout_ms=wish.timeout_ms,
        now_ms=here.clock(),
    )
    for told in answers:
        if told.ok:
            here.live.tell("told", told_row(told, wish, here.clock()))
    return [asdict(told) for told in answers]

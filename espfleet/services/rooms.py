"""What can be done with rooms."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from espfleet.domain.names import check_whole
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import BRIGHTNESS, Room, new_room
from espfleet.domain.states import GroupLevel, unknown
from espfleet.errors import ConflictError
from espfleet.services import levels
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomView:
    """A room with the level its lamps show and the names of its devices."""

    room: Room
    level: GroupLevel
    devices: tuple[str, ...]


async def add(
    store: Store, *, name: str, group: str | None = None, brightness: object = 100, labels: Iterable[str] = ()
) -> Room:
    """Make a room; doing it twice changes nothing.

    Raises:
        InvalidError: If a value cannot be used.
        ConflictError: If there is another room of this name.
        NotFoundError: If there is no such group.
    """
    room = new_room(name, group, brightness, labels)

    def plan(current: Registry) -> list[Change]:
        if room.group is not None:
            current.group(room.group)
        known = current.rooms.get(room.name)
        if known is not None and known != room:
            raise ConflictError(f"room {room.name!r} is there already; change it with './espcli room {room.name} …'")
        return [] if known else [Change("rooms", room.name, room.to_dict())]

    await registry.change(store, plan)
    return room


async def watch_group(store: Store, *, name: str, group: str) -> Room:
    """Let the lamps of a room show a group.

    Raises:
        NotFoundError: If there is no such room or group.
    """
    return await _edit(store, name, lambda current, room: replace(room, group=current.group(group).name))


async def set_brightness(store: Store, *, name: str, percent: object) -> Room:
    """Set the brightness of a room's lamps, 0 to 100 percent.

    Raises:
        InvalidError: If it is out of range.
        NotFoundError: If there is no such room.
    """
    checked = check_whole(percent, "brightness", *BRIGHTNESS, "percent")
    return await _edit(store, name, lambda _, room: replace(room, brightness=checked))


async def remove(store: Store, *, name: str) -> Room:
    """Remove a room.

    Raises:
        NotFoundError: If there is no such room.
        ConflictError: If devices are in it.
    """
    gone: list[Room] = []

    def plan(current: Registry) -> list[Change]:
        gone[:] = [current.room(name)]
        inside = sorted(device.name for device in current.devices.values() if device.room == name)
        if inside:
            raise ConflictError(f"room {name!r} is not empty: {', '.join(inside[:3])}{' …' if inside[3:] else ''}")
        return [Change("rooms", name, None)]

    await registry.change(store, plan)
    return gone[0]


async def _edit(store: Store, name: str, edit_one: Callable[[Registry, Room], Room]) -> Room:
    edited: list[Room] = []

    def plan(current: Registry) -> list[Change]:
        room = current.room(name)
        edited[:] = [edit_one(current, room)]
        return [] if edited[0] == room else [Change("rooms", name, edited[0].to_dict())]

    await registry.change(store, plan)
    return edited[0]


async def views(store: Store, *, now_ms: int) -> list[RoomView]:
    """Return every room with the level its lamps show, by name."""
    current = await registry.latest(store)
    by_group = await levels.read(store, registry=current, now_ms=now_ms)
    inside: dict[str | None, list[str]] = {}
    for device in current.devices_by_name:
        inside.setdefault(device.room, []).append(device.name)
    found = []
    for room in sorted(current.rooms.values(), key=lambda room: room.name):
        level = by_group.get(room.group or "") or unknown(room.group or "", now_ms, "the room watches no group")
        found.append(RoomView(room=room, level=level, devices=tuple(inside.get(room.name, ()))))
    return found


async def view(store: Store, *, name: str, now_ms: int) -> RoomView:
    """Return one room with the level its lamps show.

    Raises:
        NotFoundError: If there is no such room.
    """
    (await registry.latest(store)).room(name)
    return next(found for found in await views(store, now_ms=now_ms) if found.room.name == name)

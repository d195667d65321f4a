"""What can be done with devices."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from espfleet.domain.devices import Device, Dialect, Kind, Presence, Reason, check_board_token, check_kinds, new_device
from espfleet.domain.groups import DEFAULT_GROUP, Group
from espfleet.domain.names import check_name, check_whole, free_name
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import BRIGHTNESS, DEFAULT_ROOM, Room
from espfleet.domain.states import GroupLevel, unknown
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import NameTakenError
from espfleet.services import levels
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """Answer of ``register``.

    Attributes:
        device: The device as it is now stored.
        token: What the device must show to the gateway, told this once; ``None`` where it keeps the one it has.
        new: Whether it was not registered before.
    """

    device: Device
    token: str | None
    new: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device with what is known of it now.

    Attributes:
        device: What is stored.
        group: Name of the group it shows, or ``None``.
        level: Level of that group; ``unknown`` with a reason where there is none.
        presence: Whether it is there.
        reason: Why it is not live, or ``None``.
        seen_ms: When it was heard last, ms since the epoch, or ``None``.
        since_ms: When its session began, ms since the epoch, or ``None``.
        changed_ms: When its presence changed last, or ``None``.
        gateway: Name of the gateway it is or was connected to, or ``""``.
        firmware, chip: What it told of itself when it connected last, or ``""``.
    """

    device: Device
    group: str | None
    level: GroupLevel
    presence: Presence
    reason: Reason | None
    seen_ms: int | None
    since_ms: int | None
    gateway: str
    firmware: str = ""
    chip: str = ""
    changed_ms: int | None = None


async def register(
    store: Store,
    *,
    device_id: str,
    name: str,
    now_ms: int,
    address: str = "",
    room: str | None = None,
    labels: Iterable[str] = (),
    dialect: Dialect | str | None = None,
    token_wanted: bool = False,
    kinds: Sequence[Kind] | None = None,
) -> Registered:
    """Add a device to the fleet, or bring what is stored of it up to date.

    Doing it twice changes nothing. A new device without a room goes to the room ``default``, which is made when it is
    missing, together with the group ``default`` that it watches.

    Args:
        store: Where the fleet is kept.
        device_id: Hardware id: 12 hex digits.
        name: Name for people, such as ``porch``; unique in the fleet.
        now_ms: Current time, ms since the epoch.
        address: ``IP`` or ``IP:PORT`` of its own HTTP server.
        room: Room to put it into; an existing one.
        labels: Words for finding it.
        dialect: What it speaks on the gateway; ``None`` for what it spoke so far, protocol 1 at first.
        token_wanted: Give it another token although it has one; the old one ends at once.
        kinds: What it is; ``None`` for what it was so far: at first a lamp, or a camera if it speaks as one.

    Raises:
        InvalidError: If a value cannot be used.
        NameTakenError: If another device has this name; it carries a free one.
        NotFoundError: If there is no such room.
    """
    wanted = new_device(
        device_id=device_id,
        name=name,
        address=address,
        room=room,
        labels=labels,
        dialect=dialect or Dialect.V1,
        registered_ms=now_ms,
    )
    token = new_token()
    done: list[Registered] = []

    def plan(current: Registry) -> list[Change]:
        owner = current.device_ids.get(wanted.name)
        if owner not in (None, wanted.id):
            raise NameTakenError("device", wanted.name, free_name(wanted.name, current.device_ids))
        changes = _default_room(current) if room is None else []
        if room is not None:
            current.room(room)
        known = current.devices.get(wanted.id)
        device = _merged(known, wanted, token if known is None or token_wanted else None)
        if known is not None and dialect is None:
            device = replace(device, dialect=known.dialect)
        if kinds is not None:
            device = replace(device, kinds=tuple(kinds))
        elif device.dialect is Dialect.HUB and (known is None or known.dialect is not Dialect.HUB):
            device = replace(device, kinds=(Kind.CAMERA,))
        told = token if device.token_hashes == (hash_token(token),) else None
        done[:] = [Registered(device=device, token=told, new=known is None)]
        if device == known:
            return []
        return [*changes, Change("devices", device.id, device.to_dict())]

    await registry.change(store, plan)
    return done[0]


def _merged(known: Device | None, wanted: Device, token: str | None) -> Device:
    """Return the device to store: what is wanted laid over what is known."""
    base = known or replace(wanted, room=wanted.room or DEFAULT_ROOM)
    return replace(
        base,
        name=wanted.name,
        address=wanted.address or base.address,
        room=wanted.room or base.room,
        labels=tuple(dict.fromkeys((*base.labels, *wanted.labels))),
        dialect=wanted.dialect,
        token_hashes=(hash_token(token),) if token else base.token_hashes,
    )


def _default_room(current: Registry) -> list[Change]:
    """Return what must be made so that the room ``default`` watches the group ``default``."""
    changes: list[Change] = []
    if DEFAULT_GROUP not in current.groups and DEFAULT_ROOM not in current.rooms:
        changes.append(Change("groups", DEFAULT_GROUP, Group(name=DEFAULT_GROUP).to_dict()))
    if DEFAULT_ROOM not in current.rooms:
        changes.append(Change("rooms", DEFAULT_ROOM, Room(name=DEFAULT_ROOM, group=DEFAULT_GROUP).to_dict()))
    return changes


def made_up_id() -> str:
    """Return a hardware id for a device that cannot tell its own, such as a PING_LAMP client.

    It is random, and begins with the bits of an address that no maker gave (IEEE 802: locally administered).
    """
    return f"02{secrets.token_hex(5)}"


async def id_at(store: Store, *, address: str) -> str | None:
    """Return the hardware id of the one device that is registered with this address, or ``None``."""
    found = [device.id for device in (await registry.load(store)).devices.values() if device.address == address]
    return found[0] if len(found) == 1 else None


async def unregister(store: Store, *, name: str) -> Device:
    """Remove a device; its open session is closed by the gateway.

    Raises:
        NotFoundError: If there is none of that name or id.
    """
    gone: list[Device] = []

    def plan(current: Registry) -> list[Change]:
        gone[:] = [current.device(name)]
        device_id = gone[0].id
        return [
            Change("devices", device_id, None),
            *(Change("jobs", job.key, None) for job in current.jobs_of.get(device_id, ())),
            *(Change("sensors", sensor.key, None) for sensor in current.sensors_of.get(device_id, ())),
        ]

    await registry.change(store, plan)
    await presence.forget(store, gone[0].id)
    return gone[0]


async def rename(store: Store, *, name: str, new_name: str) -> Device:
    """Give a device another name.

    Raises:
        InvalidError: If a device may not be called so.
        NameTakenError: If another device is.
        NotFoundError: If there is none of the old name.
    """
    check_name(new_name, "device")

    def taken(current: Registry, device: Device) -> Device:
        if current.device_ids.get(new_name, device.id) != device.id:
            raise NameTakenError("device", new_name, free_name(new_name, current.device_ids))
        return replace(device, name=new_name)

    return await _edit(store, name, taken)


async def move(store: Store, *, name: str, room: str) -> Device:
    """Put a device into a room.

    Raises:
        NotFoundError: If there is no such device or room.
    """
    return await _edit(store, name, lambda current, device: replace(device, room=current.room(room).name))


async def show_group(store: Store, *, name: str, group: str | None) -> Device:
    """Let a device show a group of its own choice, or with ``None`` its room's again.

    Raises:
        NotFoundError: If there is no such device or group.
    """

    def choose(current: Registry, device: Device) -> Device:
        return replace(device, group=None if group is None else current.group(group).name)

    return await _edit(store, name, choose)


async def set_brightness(store: Store, *, name: str, percent: object) -> Device:
    """Set a device's own brightness, 0 to 100 percent, or with ``None`` its room's again.

    Raises:
        InvalidError: If it is out of range.
        NotFoundError: If there is no such device.
    """
    checked = None if percent is None else check_whole(percent, "brightness", *BRIGHTNESS, "percent")
    return await _edit(store, name, lambda _, device: replace(device, brightness=checked))


async def set_board_token(store: Store, *, name: str, token: str | None) -> Device:
    """Keep what the HTTP server of a device wants to see, or with ``None`` that it wants what all boards do.

    Raises:
        InvalidError: If it cannot be a token.
        NotFoundError: If there is no such device.
    """
    checked = "" if token is None else check_board_token(token)
    return await _edit(store, name, lambda _, device: replace(device, board_token=checked))


async def set_kinds(store: Store, *, name: str, kinds: Iterable[str]) -> Device:
    """Say what a device is: any of ``lamp``, ``board`` and ``camera``.

    Raises:
        InvalidError: If there is no such kind, or none is given.
        NotFoundError: If there is none of that name or id.
    """
    checked = check_kinds(kinds)
    return await _edit(store, name, lambda _, device: replace(device, kinds=checked))


async def _edit(store: Store, name: str, edit: Callable[[Registry, Device], Device]) -> Device:
    edited: list[Device] = []

    def plan(current: Registry) -> list[Change]:
        device = current.device(name)
        edited[:] = [edit(current, device)]
        return [] if edited[0] == device else [Change("devices", device.id, edited[0].to_dict())]

    await registry.change(store, plan)
    return edited[0]


async def views(store: Store, *, now_ms: int) -> list[DeviceView]:
    """Return every device with what is known of it now, by name."""
    current = await registry.latest(store)
    return await _views(store, current, current.devices.values(), now_ms)


async def view(store: Store, *, name: str, now_ms: int) -> DeviceView:
    """Return one device with what is known of it now.

    Raises:
        NotFoundError: If there is none of that name or id.
    """
    current = await registry.latest(store)
    return (await _views(store, current, [current.device(name)], now_ms))[0]


async def views_of(store: Store, *, current: Registry, chosen: Iterable[Device], now_ms: int) -> list[DeviceView]:
    """Return some devices of a registry that was loaded already, with what is known of them now, by name."""
    return await _views(store, current, chosen, now_ms)


async def _views(store: Store, current: Registry, devices: Iterable[Device], now_ms: int) -> list[DeviceView]:
    ordered = sorted(devices, key=lambda device: device.name)
    known = await presence.read_presence(store, [device.id for device in ordered])
    by_group = await levels.read(store, registry=current, now_ms=now_ms)
    found = []
    for device in ordered:
        group, there = current.group_of(device), known[device.id]
        found.append(
            DeviceView(
                device=device,
                group=group,
                level=by_group.get(group or "") or unknown(group or "", now_ms, _no_level(current, device)),
                presence=there.presence,
                reason=there.reason,
                seen_ms=there.seen_ms,
                since_ms=there.since_ms,
                gateway=there.gateway,
                firmware=there.firmware,
                chip=there.chip,
                changed_ms=there.changed_ms,
            )
        )
    return found


def _no_level(current: Registry, device: Device) -> str:
    """Return why a device has no level to show."""
    group = current.group_of(device)
    if group is not None:
        return f"there is no group {group!r}"
    if device.room is None:
        return "it is in no room"
    return f"room {device.room!r} watches no group" if device.room in current.rooms else f"no room {device.room!r}"


async def is_online(store: Store, *, name: str) -> bool:
    """Return whether a device's keepalives arrive.

    Raises:
        NotFoundError: If there is none of that name or id.
    """
    device = (await registry.load(store)).device(name)
    return (await presence.read_presence(store, [device.id]))[device.id].presence is not Presence.OFFLINE

"""What exists only as a program on this machine: the demo and simulated lamps."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.names import SIMULATED
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import Room
from espfleet.domain.targets import Target
from espfleet.errors import ConflictError
from espfleet.services import targets
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change

LABELS = (SIMULATED,)
#: Names and addresses of the demo's targets; nothing leaves the machine for any of them.
DEMO_TARGETS = (
    ("demo-loopback", "127.0.0.1"),
    ("demo-calm", "sim://calm?seed=1"),
    ("demo-busy", "sim://busy?seed=2"),
    ("demo-mixed", "sim://mixed?seed=3"),
)
DEMO_GROUPS = (("demo-home", ("demo-loopback", "demo-calm")), ("demo-internet", ("demo-busy", "demo-mixed")))
DEMO_ROOMS = (("demo-office", "demo-internet"), ("demo-kitchen", "demo-home"))
#: Names and rooms of the demo's lamps.
DEMO_LAMPS = (("demo-desk", "demo-office"), ("demo-shelf", "demo-office"), ("demo-fridge", "demo-kitchen"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many things of each kind were added or removed."""

    devices: int
    rooms: int
    groups: int
    targets: int


async def is_empty(store: Store) -> bool:
    """Return whether the user has set up nothing yet."""
    current = await registry.load(store)
    return not (current.devices or current.rooms or current.groups or current.targets)


async def add_demo(store: Store) -> Counts:
    """Add two rooms, two groups and four targets; doing it twice changes nothing.

    Raises:
        ConflictError: If something of the user's has one of the demo's names.
    """
    wanted: list[Target | Group | Room] = [
        *(Target(name=name, address=address, labels=LABELS) for name, address in DEMO_TARGETS),
        *(Group(name=name, targets=members, labels=LABELS) for name, members in DEMO_GROUPS),
        *(Room(name=name, group=group, labels=LABELS) for name, group in DEMO_ROOMS),
    ]

    def plan(current: Registry) -> list[Change]:
        changes = []
        for thing in wanted:
            kind, known = _stored(current, thing)
            if known is not None and SIMULATED not in known.labels:
                raise ConflictError(f"the demo needs the name {thing.name!r}, which one of your {kind} has")
            if known is None:
                changes.append(Change(kind, thing.name, thing.to_dict()))
        return changes

    await registry.change(store, plan)
    return Counts(devices=0, rooms=len(DEMO_ROOMS), groups=len(DEMO_GROUPS), targets=len(DEMO_TARGETS))


def _stored(current: Registry, thing: Target | Group | Room) -> tuple[str, Target | Group | Room | None]:
    if isinstance(thing, Target):
        return "targets", current.targets.get(thing.name)
    if isinstance(thing, Group):
        return "groups", current.groups.get(thing.name)
    return "rooms", current.rooms.get(thing.name)


async def enlist(store: Store, devices: Sequence[Device], *, keep: bool = False) -> None:
    """Register simulated lamps; what is stored of these ids is replaced.

    Args:
        store: Where.
        devices: The lamps.
        keep: Whether those that are registered with the same token stay as they are, for they may be running.

    Raises:
        ConflictError: If another device has one of their names.
        NotFoundError: If one of their rooms does not exist.
    """

    def plan(current: Registry) -> list[Change]:
        changes = []
        for device in devices:
            if device.room is not None:
                current.room(device.room)
            owner = current.device_ids.get(device.name)
            if owner not in (None, device.id):
                raise ConflictError(f"another device is already called {device.name!r}; nothing was registered")
            known = current.devices.get(device.id)
            if known is not None and keep and set(device.token_hashes) <= set(known.token_hashes):
                continue
            if known != device:
                changes.append(Change("devices", device.id, device.to_dict()))
        return changes

    await registry.change_in_pieces(store, plan)


async def dismiss(store: Store, device_ids: Collection[str], room_names: Collection[str] = ()) -> None:
    """Remove simulated lamps, and those of the rooms that were made for them and in which nobody is left."""
    going = set(device_ids)

    def plan(current: Registry) -> list[Change]:
        lived_in = {device.room for device_id, device in current.devices.items() if device_id not in going}
        rooms = [name for name in room_names if name in current.rooms and SIMULATED in current.rooms[name].labels]
        return [
            *(Change("devices", device_id, None) for device_id in device_ids if device_id in current.devices),
            *(Change("rooms", name, None) for name in rooms if name not in lived_in),
        ]

    await registry.change_in_pieces(store, plan)
    await presence.forget_all(store, device_ids)


async def move(store: Store, device_ids: Collection[str], room: str) -> None:
    """Put simulated lamps into a room; those that are gone are left out.

    Raises:
        NotFoundError: If there is no such room.
    """

    def plan(current: Registry) -> list[Change]:
        name = current.room(room).name
        found = [current.devices[device_id] for device_id in device_ids if device_id in current.devices]
        moved = [replace(device, room=name) for device in found if device.room != name]
        return [Change("devices", device.id, device.to_dict()) for device in moved]

    await registry.change_in_pieces(store, plan)


async def ensure_room(store: Store, name: str) -> None:
    """Make a room for simulated lamps unless there is one of this name; it watches the first group there is."""
    await ensure_rooms(store, [name])


async def ensure_rooms(store: Store, names: Sequence[str]) -> list[str]:
    """Make rooms for simulated lamps where they are missing; they watch the groups there are, in turn.

    Returns:
        The names of those that were made.
    """
    made: list[str] = []

    def plan(current: Registry) -> list[Change]:
        groups: list[str | None] = [*sorted(current.groups)] or [None]
        rooms = [Room(name=name, group=groups[at % len(groups)], labels=LABELS) for at, name in enumerate(names)]
        missing = [room for room in rooms if room.name not in current.rooms]
        made[:] = [room.name for room in missing]
        return [Change("rooms", room.name, room.to_dict()) for room in missing]

    await registry.change(store, plan)
    return made


async def tell_addresses(store: Store, addresses: Mapping[str, str]) -> None:
    """Store where simulated lamps serve their pages, by hardware id; devices that are gone are left out."""

    def plan(current: Registry) -> list[Change]:
        moved = [
            replace(current.devices[device_id], address=address)
            for device_id, address in addresses.items()
            if device_id in current.devices and current.devices[device_id].address != address
        ]
        return [Change("devices", device.id, device.to_dict()) for device in moved]

    await registry.change(store, plan)


async def remove(store: Store) -> Counts:
    """Remove everything that is labelled as simulated; a room or group that is in use otherwise stays."""
    gone: dict[str, set[str]] = {"devices": set(), "rooms": set(), "groups": set(), "targets": set()}

    def plan(current: Registry) -> list[Change]:
        going = _simulated(current)
        changes = targets.without(current, set(going.targets))
        changes = [change for change in changes if change.key not in going.groups]
        for kind, names in gone.items():
            names |= set(getattr(going, kind))
            changes += [Change(kind, name, None) for name in getattr(going, kind)]
        return changes

    await registry.change_in_pieces(store, plan)
    await presence.forget_all(store, gone["devices"])
    return Counts(**{kind: len(names) for kind, names in gone.items()})


def _simulated(current: Registry) -> Registry:
    """Return the part of the registry that is simulated and that nothing of the user's depends on."""
    devices = {key: device for key, device in current.devices.items() if device.simulated}
    kept = [device for key, device in current.devices.items() if key not in devices]
    lived_in = {device.room for device in kept}
    rooms = {name: room for name, room in current.rooms.items() if SIMULATED in room.labels and name not in lived_in}
    shown = {room.group for name, room in current.rooms.items() if name not in rooms} | {
        device.group for device in kept
    }
    groups = {name: group for name, group in current.groups.items() if SIMULATED in group.labels and name not in shown}
    return Registry(
        devices=devices,
        rooms=rooms,
        groups=groups,
        targets={name: target for name, target in current.targets.items() if SIMULATED in target.labels},
    )

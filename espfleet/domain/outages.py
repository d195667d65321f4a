"""Failures that many devices share: told as one event instead of one for each.

Devices that go offline within ``WINDOW_MS`` went at one moment, for that is how far apart a cut is noticed: keepalives
come once a second, and the watchdog of each lamp runs from its own latest one. A gateway that died is the reason by
itself. Otherwise a room is, when half of its devices went; and when several rooms are, it is the fleet.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from espfleet.domain.devices import Reason
from espfleet.domain.registry import Registry

#: Kind of the events that tell of outages.
EVENT = "outage"
WINDOW_MS = 2_000
#: Fewer devices than this are told one by one.
LEAST_DEVICES = 2
#: Failures of more rooms than this at one moment are one of the fleet.
MOST_ROOMS = 2
#: Names that an event lists.
MOST_NAMES = 20


class Scope(StrEnum):
    """What a failure is shared by."""

    GATEWAY = "gateway"
    ROOM = "room"
    FLEET = "fleet"


@dataclass(frozen=True, slots=True)
class Going:
    """A device that went offline, as its event tells."""

    event_id: str
    at_ms: int
    device_id: str
    reason: str
    gateway: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A failure that several devices share.

    Attributes:
        scope: What they have in common.
        name: Of the gateway or room; ``""`` for the fleet.
        rooms: Rooms it concerns; none for a gateway's.
        devices: Names of up to ``MOST_NAMES`` devices, in order.
        count: How many devices went.
        of: How many devices there are in these rooms; 0 for a gateway's.
        reason: Why most of them are offline.
        first_id, last_id: Events of the first and last of them.
        at_ms: When the first one went, ms since the epoch.
    """

    scope: Scope
    name: str
    rooms: tuple[str, ...]
    devices: tuple[str, ...]
    count: int
    of: int
    reason: str
    first_id: str
    last_id: str
    at_ms: int

    def fields(self) -> dict[str, Any]:
        """Return what the event tells."""
        return {
            "scope": self.scope.value,
            "name": self.name,
            "rooms": list(self.rooms),
            "devices": list(self.devices),
            "count": self.count,
            "of": self.of,
            "reason": self.reason,
            "first_id": self.first_id,
            "last_id": self.last_id,
            "began_ms": self.at_ms,
        }


def outages(goings: Sequence[Going], registry: Registry) -> list[Outage]:
    """Return the failures that explain devices which went offline at one moment; what is no such is left out."""
    by_gateway: dict[str, list[Going]] = {}
    by_room: dict[str, list[Going]] = {}
    for going in {going.device_id: going for going in goings if going.device_id in registry.devices}.values():
        room = registry.devices[going.device_id].room
        if going.reason == Reason.GATEWAY:
            by_gateway.setdefault(going.gateway, []).append(going)
        elif room is not None:
            by_room.setdefault(room, []).append(going)
    found = [
        _outage(Scope.GATEWAY, name, (), some, registry)
        for name, some in sorted(by_gateway.items())
        if len(some) >= LEAST_DEVICES
    ]
    sizes = Counter(device.room for device in registry.devices.values())
    shared = {
        room: some
        for room, some in sorted(by_room.items())
        if len(some) >= LEAST_DEVICES and 2 * len(some) >= sizes[room]
    }
    if len(shared) > MOST_ROOMS:
        all_of_them = [going for some in shared.values() for going in some]
        found.append(_outage(Scope.FLEET, "", tuple(shared), all_of_them, registry, sizes))
    else:
        found += [_outage(Scope.ROOM, room, (room,), some, registry, sizes) for room, some in shared.items()]
    return found


def _outage(
    scope: Scope,
    name: str,
    rooms: tuple[str, ...],
    goings: Sequence[Going],
    registry: Registry,
    sizes: Mapping[str | None, int] | None = None,
) -> Outage:
    ordered = sorted(goings, key=lambda going: order(going.event_id))
    names = sorted(registry.devices[going.device_id].name for going in ordered)
    return Outage(
        scope=scope,
        name=name,
        rooms=rooms,
        devices=tuple(names[:MOST_NAMES]),
        count=len(ordered),
        of=sum(sizes[room] for room in rooms) if sizes else 0,
        reason=Counter(going.reason for going in ordered).most_common(1)[0][0],
        first_id=ordered[0].event_id,
        last_id=ordered[-1].event_id,
        at_ms=ordered[0].at_ms,
    )


def covers(outage: Mapping[str, Any], going: Going, room_of: Callable[[str], str | None]) -> bool:
    """Whether the event of an outage tells of this device too, so that its own need not be shown."""
    if not order(str(outage["first_id"])) <= order(going.event_id) <= order(str(outage["last_id"])):
        return False
    if outage["scope"] == Scope.GATEWAY:
        return going.gateway == outage["name"] and going.reason == Reason.GATEWAY
    return room_of(going.device_id) in outage["rooms"] and going.reason != Reason.GATEWAY


def sentence(outage: Mapping[str, Any]) -> str:
    """Return the event of an outage in words."""
    count, reason = outage["count"], outage["reason"]
    if outage["scope"] == Scope.GATEWAY:
        return f"{count} devices lost their gateway {outage['name']} at one moment"
    rooms: Iterable[str] = outage["rooms"]
    where = f"room {outage['name']}" if outage["scope"] == Scope.ROOM else f"the rooms {', '.join(rooms)}"
    return f"{count} of {outage['of']} devices of {where} went offline at one moment: {reason}"


def order(event_id: str) -> tuple[int, int]:
    """Return the place of an event among all."""
    at_ms, _, number = event_id.partition("-")
    return int(at_ms), int(number or 0)

"""Cameras: which one is meant, what it saw and recognised, how it was there, and what it is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espfleet.domain import apriltags
from espfleet.domain.devices import Device, Dialect, Presence
from espfleet.domain.names import check_whole, nearest
from espfleet.domain.pictures import check_picture
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel, unknown
from espfleet.domain.tokens import matching_hash
from espfleet.domain.video import INTERVAL_MS, Arrival
from espfleet.domain.visits import Visit
from espfleet.errors import CameraWantedError, InvalidError, NotFoundError
from espfleet.services import levels, telling
from espfleet.services.boards import HTTP
from espfleet.services.telling import Told
from espfleet.store import pictures, presence, registry, tags, visits, workers
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.store.tags import Tag

#: A device that only posts is there so long after each: the slowest pictures come every ten seconds.
POSTED_MS = 15_000
TIMEOUT_MS = 3_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """How a camera is, or was, there.

    Attributes:
        up_s: For how many seconds it has been there without a break, or ``None`` while it is not.
        visits: When it came and went before, oldest first.
    """

    up_s: int | None
    visits: list[Visit]


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """How many are connected to the gateways of the fleet.

    Attributes:
        connections: Devices, viewers and clients of the relay together.
        viewers: Viewers of S4.
        camera: Whether the camera that is meant, or any, is there.
    """

    connections: int
    viewers: int
    camera: bool


def is_camera(device: Device) -> bool:
    """Return whether a device may send pictures, or what it recognises."""
    return device.is_camera or device.dialect is Dialect.HUB


def cameras_of(current: Registry) -> list[Device]:
    """Return all cameras, by name."""
    return [device for device in current.devices_by_name if is_camera(device)]


async def find(store: Store, *, name: str) -> Device:
    """Return the camera with a name or id; with ``""`` the only one there is.

    Raises:
        NotFoundError: If there is none of that name.
        CameraWantedError: If no name is given, and there is none or more than one.
    """
    current = await registry.latest(store)
    known = cameras_of(current)
    if not name:
        if len(known) != 1:
            raise CameraWantedError([device.name for device in known])
        return known[0]
    for device in known:
        if name in (device.name, device.id):
            return device
    raise NotFoundError("camera", name, nearest(name, [device.name for device in known]))


async def sender(store: Store, *, token: str) -> Device | None:
    """Return the device whose token this is, or ``None``."""
    current = await registry.latest(store)
    owners = {known: device for device in current.devices.values() for known in device.token_hashes}
    matched = matching_hash(token, owners)
    return owners[matched] if matched is not None else None


async def recognised(store: Store, device: Device, *, values: Mapping[str, Any], now_ms: int) -> GroupLevel:
    """Take what a device recognised, tell it to viewers, and return the level that the device is to show.

    Raises:
        InvalidError: If it has a bad form.
    """
    await tags.put(store, Tag(device.id, apriltags.check_tag(values), now_ms))
    return await _heard(store, device, now_ms)


async def pictured(store: Store, device: Device, *, data: bytes, now_ms: int, taken_ms: float) -> GroupLevel:
    """Take a picture of a camera, and return the level that it is to show.

    Raises:
        InvalidError: If it is no picture, or the device is no camera.
    """
    if not is_camera(device):
        raise InvalidError(f"{device.name} is not a camera and may send no pictures", field="device")
    check_picture(data)
    await pictures.put(store, device.id, data, Arrival(now_ms / 1_000, len(data), taken_ms))
    return await _heard(store, device, now_ms)


async def set_interval(store: Store, *, name: str, interval_ms: object, now_ms: int) -> Told:
    """Tell a camera how often to send a picture, and remember that it was told.

    Raises:
        InvalidError: If the interval is out of range.
        NotFoundError: If there is no such camera.
    """
    checked = check_whole(interval_ms, "interval_ms", *INTERVAL_MS, "ms")
    device = await find(store, name=name)
    told = await telling.tell(
        store,
        name=device.name,
        action="video_interval",
        arguments={"interval_ms": checked},
        timeout_ms=TIMEOUT_MS,
        now_ms=now_ms,
    )
    if told.ok:
        await pictures.want_interval(store, device.id, checked)
    return told


async def connected(store: Store, device: Device, *, now_ms: int) -> Connected:
    """Return how a device is, or was, there."""
    info = (await presence.read_presence(store, [device.id]))[device.id]
    there = info.presence is not Presence.OFFLINE and info.up_ms is not None
    up_s = max(now_ms - (info.up_ms or now_ms), 0) // 1_000 if there else None
    return Connected(up_s=up_s, visits=await visits.read(store, device.id))


async def links(store: Store, device: Device | None) -> Links:
    """Return how many are connected, and whether a camera, or with ``None`` any, is there."""
    gateways = (await workers.alive(store, "gateway")).values()
    asked = [device] if device is not None else cameras_of(await registry.latest(store))
    known = await presence.read_presence(store, [one.id for one in asked])
    kinds = ("lamps", "viewers", "hub_viewers", "relay_clients")
    return Links(
        connections=sum(int(info.get(kind, 0)) for info in gateways for kind in kinds),
        viewers=sum(int(info.get("hub_viewers", 0)) for info in gateways),
        camera=any(info.presence is not Presence.OFFLINE for info in known.values()),
    )


async def _heard(store: Store, device: Device, now_ms: int) -> GroupLevel:
    """Note that a device that posts is there, and return what it is to show."""
    info = (await presence.read_presence(store, [device.id]))[device.id]
    if info.presence is Presence.OFFLINE:
        posting = Session(session_id=f"{HTTP}-{device.id}", gateway=HTTP, watchdog_ms=POSTED_MS, dialect=device.dialect)
        await presence.came(store, device.id, posting)
    elif info.gateway == HTTP:
        await presence.refresh(store, HTTP, {device.id: POSTED_MS})
    current = await registry.latest(store)
    group = current.group_of(device)
    known = await levels.read(store, registry=current, now_ms=now_ms)
    return known.get(group or "") or unknown(group or "", now_ms, "it shows no group")

"""What answers hold: devices, rooms, groups and targets as programs see them; the same names as `--json` prints."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from espfleet.domain.devices import Device
from espfleet.domain.jobs import DAYS
from espfleet.domain.states import GroupLevel
from espfleet.services.devices import DeviceView
from espfleet.services.groups import GroupView
from espfleet.services.jobs import JobView
from espfleet.services.rooms import RoomView
from espfleet.services.targets import TargetView
from espfleet.services.telling import Told
from espfleet.web.shapes import Command


class DeviceRow(BaseModel):
    """A device."""

    name: str
    id: str
    address: str
    room: str | None
    group: str | None
    own_group: str | None
    own_brightness: int | None
    level: int | None
    state: str
    band: str | None
    reason: str
    presence: str
    offline_reason: str | None
    last_seen_ms: int | None
    session_since_ms: int | None
    gateway: str
    dialect: str
    firmware: str
    chip: str
    kinds: list[str]
    labels: list[str]
    simulated: bool


class RoomRow(BaseModel):
    """A room."""

    name: str
    group: str | None
    brightness: int
    level: int | None
    state: str
    band: str | None
    reason: str
    devices: list[str]
    labels: list[str]


class GroupRow(BaseModel):
    """A group."""

    name: str
    level: int | None
    state: str
    band: str | None
    reason: str
    at_ms: int
    rooms: list[str]
    targets: list[str]
    preset: str
    thresholds: dict[str, float | None]
    overrides: list[str]
    combine: str
    quorum: int
    paused: bool
    labels: list[str]


class TargetRow(BaseModel):
    """A target."""

    name: str
    address: str
    interval_ms: int
    timeout_ms: int
    groups: list[str]
    level: int | None
    band: str | None
    unknown: str
    now_ms: float | None
    usual_ms: float | None
    last_ms: float | None
    last: str
    jitter_ms: float | None
    loss_percent: float | None
    age_ms: int | None
    labels: list[str]
    simulated: bool


class JobRow(BaseModel):
    """A job: a wish about a pin, and what it wishes now; `wish` is null where nobody has looked, or it is paused."""

    name: str
    device: str
    pin: int
    kind: str
    start: str
    duration_s: int
    days: list[str]
    zone: str
    source: str
    border: float
    hysteresis: float
    side: str
    unit: str
    min_on_s: float
    min_off_s: float
    paused: bool
    wish: bool | None
    since_ms: int | None
    why: str | None


def _level(level: GroupLevel) -> dict[str, Any]:
    known = level.band is not None
    return {
        "level": level.level if known else None,
        "state": level.state.value,
        "band": level.band.value if level.band is not None else None,
        "reason": level.reason,
    }


def device_row(view: DeviceView) -> DeviceRow:
    """Return a device with what is known of it now."""
    device = view.device
    return DeviceRow(
        **stored_device(device),
        group=view.group,
        **_level(view.level),
        presence=view.presence.value,
        offline_reason=view.reason.value if view.reason is not None else None,
        last_seen_ms=view.seen_ms,
        session_since_ms=view.since_ms,
        gateway=view.gateway,
        firmware=view.firmware,
        chip=view.chip,
    )


def stored_device(device: Device) -> dict[str, Any]:
    """Return what is stored of a device, without what is secret."""
    return {
        "name": device.name,
        "id": device.id,
        "address": device.address,
        "room": device.room,
        "own_group": device.group,
        "own_brightness": device.brightness,
        "dialect": device.dialect.value,
        "kinds": [kind.value for kind in device.kinds],
        "labels": list(device.labels),
        "simulated": device.simulated,
    }


def room_row(view: RoomView) -> RoomRow:
    """Return a room with the level its lamps show."""
    room = view.room
    return RoomRow(
        name=room.name,
        group=room.group,
        brightness=room.brightness,
        **_level(view.level),
        devices=list(view.devices),
        labels=list(room.labels),
    )


def group_row(view: GroupView) -> GroupRow:
    """Return a group with its present level."""
    group = view.group
    limits = group.thresholds
    return GroupRow(
        name=group.name,
        **_level(view.level),
        at_ms=view.level.at_ms,
        rooms=list(view.rooms),
        targets=list(group.targets),
        preset=group.preset,
        thresholds={name: getattr(limits, name) for name in limits.__slots__},
        overrides=[name for name, _ in group.overrides],
        combine=group.combine.value,
        quorum=group.quorum,
        paused=group.paused,
        labels=list(group.labels),
    )


def target_row(view: TargetView) -> TargetRow:
    """Return a target with what is known of it now."""
    target, known = view.target, view.summary
    return TargetRow(
        name=target.name,
        address=target.address,
        interval_ms=target.interval_ms,
        timeout_ms=target.timeout_ms,
        groups=list(view.groups),
        level=known.level if known else None,
        band=known.band.value if known and known.band else None,
        unknown=known.unknown if known else "no leveler knows it",
        now_ms=known.now_ms if known else None,
        usual_ms=known.usual_ms if known else None,
        last_ms=known.last_ms if known else None,
        last=known.last if known else "",
        jitter_ms=known.jitter_ms if known else None,
        loss_percent=known.loss_percent if known else None,
        age_ms=known.age_ms if known else None,
        labels=list(target.labels),
        simulated=target.simulated,
    )


def job_row(view: JobView) -> JobRow:
    """Return a job with what it wishes now."""
    job, wish = view.job, view.wish
    minutes, seconds = divmod(job.start_s, 60)
    return JobRow(
        **{
            **job.to_dict(),
            "device": view.device.name,
            "kind": job.kind.value,
            "side": job.side.value,
            "start": f"{minutes // 60:02}:{minutes % 60:02}:{seconds:02}",
            "days": [DAYS[day] for day in job.days],
            "wish": wish.on if wish else None,
            "since_ms": wish.since_ms if wish else None,
            "why": wish.why if wish else None,
        }
    )


def told_row(told: Told, wish: Command, at_ms: int) -> dict[str, Any]:
    """Return what readers of the live feed hear of a command that a device obeyed; settings may hold secrets."""
    shown = wish.arguments if wish.action == "override" else {}
    return {"device": told.device, "action": wish.action, "arguments": shown, "at_ms": at_ms}

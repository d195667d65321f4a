"""Whether what comes from a file could have been set up here: each thing is made again by the checks of its kind.

Rows of Redis were checked when they were made; those of a backup may have been written by anybody.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from espfleet.domain.devices import Device, check_board_token, check_kinds, new_device
from espfleet.domain.groups import Group, new_group
from espfleet.domain.jobs import Job, check_job
from espfleet.domain.names import check_number, check_whole, shown
from espfleet.domain.registry import Registry
from espfleet.domain.roles import Holder, new_holder
from espfleet.domain.rooms import Room, new_room
from espfleet.domain.sensors import Sensor, new_sensor
from espfleet.domain.targets import Target, new_target
from espfleet.errors import InvalidError

_HASH = re.compile(r"sha256:[0-9a-f]{64}")
_LATEST_MS = 2**53


def check_sound(registry: Registry) -> None:
    """Refuse things that nobody could have set up.

    Raises:
        InvalidError, TypeError, AttributeError, ValueError: If there is one.
    """
    _check("device", ((one, _device(one)) for one in registry.devices.values()))
    _check("room", ((one, _room(one)) for one in registry.rooms.values()))
    _check("group", ((one, _group(one)) for one in registry.groups.values()))
    _check("target", ((one, _target(one)) for one in registry.targets.values()))
    _check("job", ((one, _job(one)) for one in registry.jobs.values()))
    _check("sensor", ((one, _sensor(one)) for one in registry.sensors.values()))
    if len(registry.device_ids) != len(registry.devices):
        raise InvalidError("two devices have the same name", field="name")


def check_holders(rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse tokens of people and programs that nobody could have made.

    Raises:
        InvalidError, TypeError, ValueError: If there is one.
    """
    for key, row in rows.items():
        _check_hashes([key])
        made = new_holder(row.get("name"), row.get("role"), check_whole(row.get("created_ms"), "made", 0, _LATEST_MS))
        until_ms = row.get("until_ms")
        if until_ms is not None:
            made = replace(made, until_ms=check_whole(until_ms, "end", 0, _LATEST_MS))
        _check("token", [(Holder.from_dict(row), made)])


def _check(kind: str, pairs: Iterable[tuple[Any, Any]]) -> None:
    for found, made in pairs:
        if found != made:
            raise InvalidError(f"{shown(found.name)} is no {kind} that could be made here", field=kind)


def _device(one: Device) -> Device:
    _check_hashes(one.token_hashes)
    made = new_device(
        device_id=one.id,
        name=one.name,
        address=one.address,
        room=one.room,
        group=one.group,
        brightness=one.brightness,
        labels=one.labels,
        dialect=one.dialect,
        token_hashes=one.token_hashes,
        registered_ms=check_whole(one.registered_ms, "registered", 0, _LATEST_MS),
    )
    board_token = check_board_token(one.board_token) if one.board_token else ""
    return replace(made, kinds=check_kinds(one.kinds), board_token=board_token)


def _room(one: Room) -> Room:
    return new_room(one.name, one.group, one.brightness, one.labels)


def _group(one: Group) -> Group:
    made = new_group(one.name, one.targets, one.preset, dict(one.overrides), one.combine, one.quorum, labels=one.labels)
    return replace(made, paused=one.paused is True)


def _target(one: Target) -> Target:
    return new_target(one.name, one.address, one.interval_ms, one.timeout_ms, one.labels)


def _job(one: Job) -> Job:
    check_job(one)
    return replace(
        one,
        pin=int(one.pin),
        start_s=int(one.start_s),
        duration_s=int(one.duration_s),
        border=check_number(one.border, "border", -1e9, 1e9),
        hysteresis=float(one.hysteresis),
        min_on_s=float(one.min_on_s),
        min_off_s=float(one.min_off_s),
        source=str(one.source),
        unit=str(one.unit),
        paused=one.paused is True,
    )


def _sensor(one: Sensor) -> Sensor:
    return new_sensor(
        device_id=one.device_id,
        name=one.name,
        kind=one.kind,
        pin=one.pin,
        interval_s=one.interval_s,
        power_pin=one.power_pin,
    )


def _check_hashes(hashes: Iterable[object]) -> None:
    for one in hashes:
        if not isinstance(one, str) or not _HASH.fullmatch(one):
            raise InvalidError(f"{shown(one)} is no hash of a token", field="token")

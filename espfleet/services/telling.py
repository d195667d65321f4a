"""Telling devices to do something now: one command to a device or to all of a room, one result for each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from espfleet.domain.actors import told_arguments
from espfleet.domain.devices import Device, Presence
from espfleet.domain.plain import flaw_of
from espfleet.errors import InvalidError
from espfleet.services import devices
from espfleet.services.devices import DeviceView
from espfleet.store import audit, commands, registry
from espfleet.store.client import Store

#: What a device can be told, as docs/protocol.md lists it.
ACTIONS = (
    *("identify", "gpio", "adc", "sensor", "brightness", "override", "reboot", "settings", "trust", "update"),
    # Cameras only.
    "video_interval",
)
TIMEOUT_MS = (100, 30_000)
#: Devices told at once; each waits on a connection of its own.
_AT_ONCE = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What came of telling one device.

    Attributes:
        device: Name of the device.
        ok: Whether it did it.
        data: What it answered.
        error: Why it did not, as a sentence, or ``""``.
        unanswered: Whether it was told and nothing is known of what it did.
    """

    device: str
    ok: bool
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    unanswered: bool = False


async def tell(
    store: Store, *, name: str, action: str, arguments: Mapping[str, Any], timeout_ms: int, now_ms: int
) -> Told:
    """Tell one device to do something.

    Raises:
        NotFoundError: If there is no such device.
        InvalidError: If there is no such action, or devices could not read the arguments.
    """
    _check(action, arguments)
    view = await devices.view(store, name=name, now_ms=now_ms)
    await _note(store, {"device": view.device.name}, action, arguments)
    return await _tell(store, view, action, arguments, timeout_ms)


async def tell_room(
    store: Store, *, room: str, action: str, arguments: Mapping[str, Any], timeout_ms: int, now_ms: int
) -> list[Told]:
    """Tell every device of a room to do something; return one answer for each, by name.

    Raises:
        NotFoundError: If there is no such room.
        InvalidError: If there is no such action, or devices could not read the arguments.
    """
    _check(action, arguments)
    current = await registry.latest(store)
    current.room(room)
    inside: list[Device] = [device for device in current.devices_by_name if device.room == room]
    views = await devices.views_of(store, current=current, chosen=inside, now_ms=now_ms)
    turn = asyncio.Semaphore(_AT_ONCE)
    await _note(store, {"room": room}, action, arguments)

    async def one(view: DeviceView) -> Told:
        async with turn:
            return await _tell(store, view, action, arguments, timeout_ms)

    return list(await asyncio.gather(*(one(view) for view in views)))


async def _note(store: Store, whom: Mapping[str, str], action: str, arguments: Mapping[str, Any]) -> None:
    await audit.note(store, "tell", {**whom, "action": action, "arguments": told_arguments(arguments)})


def _check(action: str, arguments: Mapping[str, Any]) -> None:
    if action not in ACTIONS:
        raise InvalidError(f"{action!r} is not an action: use one of {', '.join(ACTIONS)}", field="action")
    flaw = flaw_of(arguments)
    if flaw:
        raise InvalidError(f"what the arguments hold {flaw}", field="arguments")


async def _tell(store: Store, view: DeviceView, action: str, arguments: Mapping[str, Any], timeout_ms: int) -> Told:
    device = view.device
    if view.presence is Presence.OFFLINE:
        reason = view.reason.value if view.reason else "offline"
        return Told(device=device.name, ok=False, error=f"{device.name} cannot be told: {reason}")
    command = {"action": action, "arguments": dict(arguments), "expires_ms": timeout_ms}
    answer = await commands.send(store, device.id, command, timeout_ms)
    if answer is None:
        return Told(device=device.name, ok=False, error=f"{device.name} did not answer in time", unanswered=True)
    return Told(
        device=device.name,
        ok=bool(answer.get("ok")),
        data=answer.get("data") or {},
        error=str(answer.get("error") or ("" if answer.get("ok") else "it gave no reason")),
    )

"""What boards of S3 speak: they tell how their LED is, are told to switch it, and are asked whether they live.

They say no hello. One is known as PING_LAMP's lamps are: by ``?token=`` in its URL, or by its address.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import (
    VALUES_A_READING,
    WORD_CHARS,
    Keepalive,
    LampEvent,
    Message,
    Readings,
    Result,
)
from espfleet.domain.names import check_name
from espfleet.domain.plain import flaw_of
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.errors import InvalidError
from espfleet.gateway.frames import text_frame
from espfleet.gateway.settings import GatewaySettings

#: Actions of a LED by the value that a pin is set to.
ACTIONS = {0: "off", 1: "on", 2: "toggle"}
READ_SENSOR = "READ_SENSOR"


class S3Board:
    """What boards of S3 speak."""

    name = DialectName.BOARDS
    eager = False
    answers = True
    #: The one thing they all answer: MicroPython's own WebSocket does not answer pings of the protocol.
    question: bytes | None = text_frame('{"type": "ping"}')

    def __init__(self, settings: GatewaySettings) -> None:
        self.period_ms = settings.period_ms

    def read(self, text: str) -> Message | None:
        """Return what a board said; what is no JSON object means nothing here, as S3's server only echoed it."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return None
        if not isinstance(values, dict) or flaw_of(values):
            return None
        kind = values.get("type")
        if kind in ("pong", "keepalive"):
            return Keepalive()
        if kind == "led_status":
            return Result(id="", ok=True, data={"state": bool(values.get("state"))})
        if set(values) == {"sensor"}:
            return Result(id="", ok=True, data={"sensor": values["sensor"]})
        if kind not in (None, "status"):
            return _event(values)
        numbers = _numbers(values)
        return Readings(values=numbers) if numbers else None

    def answer(self, _message: Message, _at_ms: int) -> None:
        """Return ``None``: S3's boards wait for no answer."""

    def shows_levels(self, _device: Device) -> bool:
        """Return ``False``: a LED that is on or off shows no level."""
        return False

    def level(self, _level: GroupLevel, _at_ms: int, _mono_s: float) -> bytes:
        """Return nothing to send."""
        return b""

    def welcome(self, device: Device, _registry: Registry, _level: GroupLevel, at_ms: int, _mono_s: float) -> bytes:
        """Return a greeting as S3's test server sent it."""
        told = {"type": "welcome", "message": f"Welcome, {device.name}", "timestamp": at_ms / 1_000}
        return text_frame(json.dumps(told))

    def command(self, _id: str, action: str, arguments: Mapping[str, object], _expires_ms: int) -> bytes | None:
        """Return what switches the LED, by ``gpio`` with the values 0, 1 and 2, or asks for the sensor."""
        if action == "sensor":
            return text_frame(READ_SENSOR)
        value = arguments.get("value")
        wanted = ACTIONS.get(value) if action == "gpio" and isinstance(value, int) else None
        return text_frame(json.dumps({"type": "led_control", "action": wanted})) if wanted else None


def _event(values: Mapping[str, Any]) -> LampEvent | None:
    """Return something that happened, such as an alert, or ``None`` where its type is no name."""
    try:
        name = check_name(values["type"], "value")
    except InvalidError:
        return None
    return LampEvent(name=name, fields={key: value for key, value in values.items() if key != "type"})


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """Return what of a status are numbers: the state of the LED, uptime, memory."""
    found = {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, bool | int | float)
        and abs(value) < 2**53
        and math.isfinite(value)
        and name.isidentifier()
        and len(name) <= WORD_CHARS
    }
    return dict(list(found.items())[:VALUES_A_READING])

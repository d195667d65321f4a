"""What cameras of S4 speak: events in JSON, and pictures as binary messages, each a whole JPEG.

They are greeted first and say who they are then; ``hub_door`` does that. One that is a lamp too, by its registered
kinds, is also sent levels. They answer no command.
"""

from __future__ import annotations

from collections.abc import Mapping

from espfleet.domain import apriltags, hub_messages
from espfleet.domain.devices import Device, Kind
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import LampEvent, Message, Question
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.domain.video import INTERVAL_MS
from espfleet.gateway.frames import PING, text_frame
from espfleet.gateway.settings import GatewaySettings

#: The one thing a camera can be told.
SET_INTERVAL = "video_interval"


class HubCamera:
    """What cameras of S4 speak."""

    name = DialectName.HUB
    eager = True
    answers = False
    #: They may send a picture every ten seconds only; their libraries answer pings of the protocol by themselves.
    question: bytes | None = PING

    def __init__(self, settings: GatewaySettings) -> None:
        self._lease_ms = settings.lease_ms
        self.period_ms = settings.period_ms

    def read(self, text: str) -> Message | None:
        """Return what a camera said; events that are unknown here are ignored."""
        event, values = hub_messages.read_event(text)
        if event == apriltags.EVENT:
            return LampEvent(name=event, fields=apriltags.check_tag(values))
        return Question() if event == "ping" else None

    def answer(self, message: Message, at_ms: int) -> bytes | None:
        """Acknowledge what was recognised, and say that somebody is here."""
        if isinstance(message, LampEvent):
            return text_frame(hub_messages.write(hub_messages.ACK))
        return text_frame(hub_messages.pong(at_ms)) if isinstance(message, Question) else None

    def shows_levels(self, device: Device) -> bool:
        """Tell whether a device is a lamp too."""
        return Kind.LAMP in device.kinds

    def level(self, level: GroupLevel, _at_ms: int, _mono_s: float) -> bytes:
        """Return a level as an event."""
        return text_frame(hub_messages.level(level, self._lease_ms))

    def welcome(self, device: Device, _registry: Registry, level: GroupLevel, at_ms: int, mono_s: float) -> bytes:
        """Return that the camera was identified, and a level if it is a lamp too."""
        greeting = text_frame(hub_messages.identified(hub_messages.CAMERA))
        return greeting + self.level(level, at_ms, mono_s) if self.shows_levels(device) else greeting

    def command(self, _id: str, action: str, arguments: Mapping[str, object], _expires_ms: int) -> bytes | None:
        """Return what sets the interval of pictures; cameras know no other command."""
        interval_ms, (low, high) = arguments.get("interval_ms"), INTERVAL_MS
        if action != SET_INTERVAL or not isinstance(interval_ms, int) or not low <= interval_ms <= high:
            return None
        return text_frame(hub_messages.set_video_interval(interval_ms))

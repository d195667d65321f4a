"""Protocol 1, the gateway's own."""

from __future__ import annotations

from collections.abc import Mapping

from espfleet.domain import replies
from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import Message, parse
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.gateway.frames import text_frame
from espfleet.gateway.settings import GatewaySettings


class V1:
    """What lamps with espfleet's firmware speak."""

    name = DialectName.V1
    eager = True
    answers = True
    question: bytes | None = None

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self.period_ms = settings.period_ms

    def answer(self, _message: Message, _at_ms: int) -> None:
        """Return ``None``: these lamps wait for no answer."""

    def shows_levels(self, _device: Device) -> bool:
        """Return ``True``: that is what they are for."""
        return True

    def read(self, text: str) -> Message | None:
        """Return what a device said."""
        return parse(text)

    def level(self, level: GroupLevel, at_ms: int, mono_s: float) -> bytes:
        """Return a ``level``."""
        return text_frame(replies.level(level, lease_ms=self._settings.lease_ms, at_ms=at_ms, mono_s=mono_s))

    def welcome(self, device: Device, registry: Registry, level: GroupLevel, at_ms: int, mono_s: float) -> bytes:
        """Return a ``welcome``, with the level in it."""
        settings = self._settings
        return text_frame(
            replies.welcome(
                level,
                name=device.name,
                room=device.room,
                group=registry.group_of(device),
                brightness=registry.brightness_of(device),
                keepalive_ms=settings.keepalive_ms,
                watchdog_ms=settings.watchdog_ms,
                period_ms=settings.period_ms,
                lease_ms=settings.lease_ms,
                at_ms=at_ms,
                mono_s=mono_s,
            )
        )

    def command(self, command_id: str, action: str, arguments: Mapping[str, object], expires_ms: int) -> bytes | None:
        """Return a ``command``."""
        return text_frame(replies.command(command_id, action, arguments, expires_ms))

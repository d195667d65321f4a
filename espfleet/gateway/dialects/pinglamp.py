"""What lamps of PING_LAMP (S1) speak: they send keepalives, and are sent a level each tick.

They say no hello. One is known by ``?token=`` in its URL, or by its address when only one registered device of this
dialect has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import Keepalive, Message
from espfleet.domain.registry import Registry
from espfleet.domain.replies import timestamp
from espfleet.domain.states import GroupLevel
from espfleet.gateway.frames import text_frame


class PingLamp:
    """What lamps of PING_LAMP speak."""

    name = DialectName.PINGLAMP
    eager = False
    answers = True
    question: bytes | None = None

    def __init__(self, tick_ms: int) -> None:
        self.period_ms = tick_ms

    def answer(self, _message: Message, _at_ms: int) -> None:
        """Return ``None``: these lamps wait for no answer."""

    def shows_levels(self, _device: Device) -> bool:
        """Return ``True``: that is what they are for."""
        return True

    def read(self, text: str) -> Keepalive | None:
        """Return a keepalive for a keepalive; everything else is ignored, as S1's server did."""
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return Keepalive() if isinstance(values, dict) and values.get("type") == "keepalive" else None

    def level(self, level: GroupLevel, at_ms: int, mono_s: float) -> bytes:
        """Return a level as S1's server wrote it; an unknown one is 50, for these lamps know only numbers."""
        return text_frame(json.dumps({"timestamp": timestamp(at_ms), "server_mono_ts": mono_s, "level": level.level}))

    def welcome(self, _device: Device, _registry: Registry, level: GroupLevel, at_ms: int, mono_s: float) -> bytes:
        """Return a level: these lamps know no greeting."""
        return self.level(level, at_ms, mono_s)

    def command(self, _id: str, _action: str, _arguments: Mapping[str, object], _expires_ms: int) -> None:
        """Return ``None``: these lamps obey nobody."""

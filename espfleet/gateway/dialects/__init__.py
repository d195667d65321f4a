"""What devices speak on the gateway: one module a dialect, from its frames to the messages of the domain and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from espfleet.domain.devices import Device
from espfleet.domain.devices import Dialect as DialectName
from espfleet.domain.messages import Message
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel


class Dialect(Protocol):
    """What devices of one kind say and understand; one object serves all of them."""

    @property
    def name(self) -> DialectName:
        """Name of the dialect."""

    @property
    def period_ms(self) -> int:
        """A level is sent at least this often."""

    @property
    def eager(self) -> bool:
        """Whether a level that changed is sent at once, and not with the next period only."""

    @property
    def answers(self) -> bool:
        """Whether devices answer commands; for others the gateway does as soon as they are told."""

    @property
    def question(self) -> bytes | None:
        """Frame that asks a device whether it lives, or ``None`` where devices say so by themselves."""

    def read(self, text: str) -> Message | None:
        """Return what a device said, or ``None`` if nobody wants to know; raises ``ProtocolError``."""

    def answer(self, message: Message, at_ms: int, /) -> bytes | None:
        """Return the frame that answers what a device said, or ``None`` where it waits for none."""

    def shows_levels(self, device: Device, /) -> bool:
        """Tell whether a device is to be shown levels."""

    def level(self, level: GroupLevel, at_ms: int, mono_s: float, /) -> bytes:
        """Return the frame that shows a level."""

    def welcome(self, device: Device, registry: Registry, level: GroupLevel, at_ms: int, mono_s: float, /) -> bytes:
        """Return the frame that greets a device, and tells it when something about it changed."""

    def command(
        self, command_id: str, action: str, arguments: Mapping[str, object], expires_ms: int, /
    ) -> bytes | None:
        """Return the frame that tells a device to do something, or ``None`` where it would not understand."""

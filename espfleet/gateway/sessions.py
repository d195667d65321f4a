"""Sessions: one device on one open connection."""

from __future__ import annotations

from sys import intern
from typing import Protocol

from espfleet.domain.devices import Kind, Presence, Reason
from espfleet.domain.messages import BINARY_BYTES, TEXT_BYTES, Message, ProtocolError
from espfleet.gateway.connection import Connection
from espfleet.gateway.passes import Pass
from espfleet.gateway.stages import Stage


class Host(Protocol):
    """Who keeps the sessions."""

    def clock(self) -> float:
        """Return seconds on a clock that never jumps."""

    def returned(self, session: Session) -> None:
        """A device that was late or offline has been heard."""

    def answered(self, session: Session) -> None:
        """A device sent something that may be the answer to a ping."""

    def said(self, session: Session, message: Message) -> None:
        """A device sent a message that is more than a keepalive; raises ``ProtocolError``."""

    def left(self, session: Session, reason: Reason) -> None:
        """The session has ended."""


class Session:
    """One device on one open connection; what its connection takes it for.

    Attributes:
        connection: Where it is connected.
        device: What the registry says of it.
        dialect: What it speaks.
        firmware, chip: What it told of itself, or ``""``.
        token_hash: The stored hash that its token matched, or ``None``.
        number: Counts the sessions of this gateway.
        since_ms: When it began, ms since the epoch.
        heard_s: When it was heard last, on the host's clock.
        presence: Whether its keepalives arrive.
        outdated: Whether it must be welcomed again when it is back.
        stage, seat: Where it is shown levels; without a stage while it is late.
    """

    __slots__ = (
        "_host",
        "chip",
        "connection",
        "device",
        "dialect",
        "firmware",
        "heard_s",
        "number",
        "outdated",
        "presence",
        "seat",
        "since_ms",
        "stage",
        "token_hash",
    )

    def __init__(self, host: Host, connection: Connection, given: Pass, number: int, since_ms: int) -> None:
        self._host = host
        self.connection = connection
        self.device = given.device
        self.dialect = given.dialect
        # One text for all lamps of a kind, however many there are.
        self.firmware, self.chip = intern(given.firmware), intern(given.chip)
        self.token_hash = given.token_hash
        self.number = number
        self.since_ms = since_ms
        self.heard_s = host.clock()
        self.presence = Presence.LIVE
        self.outdated = False
        self.stage: Stage | None = None
        self.seat = -1

    @property
    def most_bytes(self) -> int:
        """Largest message it may send: only cameras send pictures."""
        return BINARY_BYTES if Kind.CAMERA in self.device.kinds else TEXT_BYTES

    def heard(self) -> None:
        """Note that it lives."""
        self.heard_s = self._host.clock()
        if self.presence is not Presence.LIVE:
            self._host.returned(self)

    def stirred(self) -> None:
        """Note that its connection lives."""
        self._host.answered(self)

    def text(self, text: str) -> None:
        """Take a message; whatever it is, its sender lives."""
        message = self.dialect.read(text)
        self.heard()
        if message is not None:
            self._host.said(self, message)

    def binary(self, data: bytes) -> None:
        """Take a picture of a camera; others may send none."""
        if Kind.CAMERA not in self.device.kinds:
            raise ProtocolError(
                f"{self.device.name} is not a camera and may send text messages only, not {len(data)} binary bytes"
            )
        self.heard()

    def writable(self) -> None:
        """Do nothing: the newest level has been sent."""

    def lost(self, reason: Reason) -> None:
        """End."""
        self._host.left(self, reason)

"""Sessions: one device on one open connection."""

from __future__ import annotations

from sys import intern
from typing import Protocol

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Presence, Reason
from espfleet.domain.messages import BINARY_BYTES, TEXT_BYTES, Message, ProtocolError
from espfleet.domain.pictures import check_picture
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

    def now_ms(self) -> int:
        """Return ms since the epoch."""

    def pictured(self, session: Session, data: bytes) -> None:
        """A camera sent a picture."""

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
        update_key: What seals updates for it, or nothing.
        standing: What became of its last update, as it said when it came, or ``None``.
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
        "standing",
        "token_hash",
        "update_key",
    )

    def __init__(self, host: Host, connection: Connection, given: Pass, number: int, since_ms: int) -> None:
        self._host = host
        self.connection = connection
        self.device = given.device
        self.dialect = given.dialect
        # One text for all lamps of a kind, however many there are.
        self.firmware, self.chip = intern(given.firmware), intern(given.chip)
        self.token_hash = given.token_hash
        self.update_key = given.update_key
        self.standing = given.standing
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
        return BINARY_BYTES if self.device.is_camera else TEXT_BYTES

    def heard(self) -> None:
        """Note that it lives."""
        self.heard_s = self._host.clock()
        if self.presence is not Presence.LIVE:
            self._host.returned(self)

    def stirred(self) -> None:
        """Note that its connection lives, and with it a device that is asked in this way."""
        self._host.answered(self)
        if self.dialect.question is not None:
            self.heard()

    def text(self, text: str) -> None:
        """Take a message; whatever it is, its sender lives."""
        if len(text) > TEXT_BYTES:
            raise ProtocolError(f"a message may have {TEXT_BYTES} bytes", close_code=CloseCode.TOO_MUCH)
        message = self.dialect.read(text)
        self.heard()
        if message is not None:
            self._host.said(self, message)
            answer = self.dialect.answer(message, self._host.now_ms())
            if answer is not None:
                self.connection.send(answer)

    def binary(self, data: bytes) -> None:
        """Take a picture of a camera; others may send none."""
        if not self.device.is_camera:
            raise ProtocolError(
                f"{self.device.name} is not a camera and may send text messages only, not {len(data)} binary bytes"
            )
        check_picture(data)
        self.heard()
        self._host.pictured(self, data)

    def turned(self) -> None:
        """Let levels go the way they can go now."""
        if self.stage is not None:
            self.stage.turned(self)

    def lost(self, reason: Reason) -> None:
        """End."""
        self._host.left(self, reason)

"""Guests: connections whose clients have not said yet who they are."""

from __future__ import annotations

from collections.abc import Callable

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Reason
from espfleet.domain.messages import TEXT_BYTES, ProtocolError
from espfleet.gateway.connection import Connection


class Guest:
    """What a connection takes its client for until it has said who it is."""

    most_bytes = TEXT_BYTES

    def __init__(self, connection: Connection, welcome: Callable[[Connection, str], None]) -> None:
        self._connection = connection
        self._welcome = welcome

    def heard(self) -> None:
        """Refuse: a keepalive says nothing about who sent it."""
        self._connection.close(CloseCode.PROTOCOL, "the first message must say who you are", Reason.REFUSED)

    def stirred(self) -> None:
        """Do nothing."""

    def text(self, text: str) -> None:
        """Take the first message."""
        self._welcome(self._connection, text)

    def binary(self, _data: bytes) -> None:
        """Refuse."""
        raise ProtocolError("the first message must say who you are, in text")

    def turned(self) -> None:
        """Do nothing."""

    def lost(self, _reason: Reason) -> None:
        """Do nothing."""

"""Whom a connection talks to: the peer that its client is taken for, and the reception of all connections."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, NamedTuple, Protocol

from espfleet.domain.devices import Reason
from espfleet.gateway.handshakes import Handshake

if TYPE_CHECKING:
    from espfleet.gateway.connection import Connection
    from espfleet.gateway.hearing import Hearing


class Refusal(NamedTuple):
    """Why a request is not to be upgraded.

    Attributes:
        status: HTTP status.
        text: One sentence.
        retry_after_s: When to try again; 0 where that is of no use.
    """

    status: HTTPStatus
    text: str
    retry_after_s: int = 0


class Peer(Protocol):
    """Who is at the other end of an open connection."""

    @property
    def most_bytes(self) -> int:
        """Largest message it may send."""

    def heard(self) -> None:
        """The usual keepalive came."""

    def stirred(self) -> None:
        """Something else came, perhaps only the answer to a ping."""

    def text(self, text: str, /) -> None:
        """A text message came; raises ``ProtocolError`` if it may not."""

    def binary(self, data: bytes, /) -> None:
        """A binary message came; raises ``ProtocolError`` if it may not."""

    def turned(self) -> None:
        """The client takes nothing for now (``connection.blocked_s``), or everything that waited has been written."""

    def lost(self, reason: Reason, /) -> None:
        """The connection is closing or gone; nothing more comes, and nothing may be sent."""


class Reception(Protocol):
    """Who decides about connections; one for all."""

    @property
    def hearing(self) -> Hearing:
        """Reads lamps that have settled."""

    def clock(self) -> float:
        """Return seconds on a clock that never jumps."""

    def messages_left(self, taken: int) -> bool:
        """Tell whether a client that sent ``taken`` messages in this second may send one more."""

    def bytes_left(self, taken: int, most_bytes: int) -> bool:
        """Tell whether a client that sent ``taken`` bytes in this second may go on, by its largest message."""

    @property
    def waiting_bytes(self) -> int:
        """What may wait for a client that reads too slowly."""

    def arrived(self, connection: Connection) -> None:
        """A TCP connection was made."""

    def refusal(self, connection: Connection, handshake: Handshake) -> Refusal | None:
        """Return why a request is not to be upgraded, or ``None``."""

    def opened(self, connection: Connection, handshake: Handshake) -> None:
        """The handshake is done: set ``connection.peer``, or close it."""

    def blocked(self, connection: Connection) -> None:
        """The client takes nothing for now."""

    def flows(self, connection: Connection) -> None:
        """The client takes again."""

    def closing(self, connection: Connection) -> None:
        """A close frame or a refusal was sent: the client gets a moment to read it."""

    def left(self, connection: Connection) -> None:
        """The TCP connection is gone."""

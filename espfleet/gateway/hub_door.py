"""The door for S4's cameras and viewers: each is greeted, says who it is, and shows its token before anything else."""

from __future__ import annotations

from collections.abc import Callable

from espfleet.domain import hub_messages
from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Reason
from espfleet.domain.hub_messages import Identify
from espfleet.domain.messages import TEXT_BYTES, ProtocolError
from espfleet.gateway.connection import Connection
from espfleet.gateway.dialects.hub import HubCamera
from espfleet.gateway.frames import text_frame
from espfleet.gateway.hub import Hub
from espfleet.gateway.hub_viewers import HubViewers

Refuse = Callable[[Connection, ProtocolError], None]
#: Lets a client in by the second argument; if that cannot be after all, the third sends it away.
Try = Callable[[Connection, Callable[[], None], Refuse], None]


class HubDoor:
    """Lets cameras and viewers of S4 in.

    Args:
        hub: Where cameras go.
        viewers: Where viewers go.
        camera: What cameras speak.
        viewer_hash: Returns the stored hash of a viewer's token, ``None`` where it needs none; or raises.
        try_to: Lets a client in as soon as the newest of the registry is known.
    """

    def __init__(
        self,
        hub: Hub,
        viewers: HubViewers,
        camera: HubCamera,
        viewer_hash: Callable[[str], str | None],
        try_to: Try,
    ) -> None:
        self._hub = hub
        self._viewers = viewers
        self._camera = camera
        self._viewer_hash = viewer_hash
        self._try = try_to

    def greet(self, connection: Connection, token: str) -> None:
        """Ask a new client who it is; ``token`` is the one in its URL, or ``""``."""
        connection.peer = Stranger(connection, self, token)
        connection.send(text_frame(hub_messages.write(hub_messages.CONNECTION_SUCCESS)))

    def said(self, connection: Connection, text: str, token: str) -> None:
        """Take the first message of a client.

        Raises:
            ProtocolError: If it cannot be understood.
        """
        event, values = hub_messages.read_event(text)
        if event == "identify":
            who = hub_messages.read_identify(values)
            self._identify(connection, who, who.token or token)
        elif event in hub_messages.VIEWERS_WORDS:
            self._let_view(connection, token, identified=False)
        elif event == "ping":
            connection.send(text_frame(hub_messages.pong(self._hub.now_ms())))
        else:
            # S4's hub took data from whoever sent it.
            refuse(connection, ProtocolError(hub_messages.MISSING_TOKEN, close_code=CloseCode.TOKEN))

    def _identify(self, connection: Connection, who: Identify, token: str) -> None:
        if who.kind == hub_messages.VIEWER:
            self._let_view(connection, token, identified=True)
        elif not token:
            refuse(connection, ProtocolError(hub_messages.MISSING_TOKEN, close_code=CloseCode.TOKEN))
        else:
            self._try(connection, lambda: self._let_in(connection, token), refuse)

    def _let_in(self, connection: Connection, token: str) -> None:
        try:
            given = self._hub.directory.by_token(token, self._camera)
        except ProtocolError:
            raise ProtocolError(hub_messages.INVALID_TOKEN, close_code=CloseCode.TOKEN) from None
        self._hub.admit(connection, given)

    def _let_view(self, connection: Connection, token: str, *, identified: bool) -> None:
        def let_in() -> None:
            self._viewers.begin(connection, self._viewer_hash(token), identified=identified)

        self._try(connection, let_in, refuse)


def refuse(connection: Connection, exc: ProtocolError) -> None:
    """Tell a client in S4's words why it may not come in, and close."""
    connection.send(text_frame(hub_messages.refused(str(exc))))
    connection.close(exc.close_code, str(exc), Reason.REFUSED)


class Stranger:
    """What a connection takes its client for until it has said who it is."""

    most_bytes = TEXT_BYTES

    def __init__(self, connection: Connection, door: HubDoor, token: str) -> None:
        self._connection = connection
        self._door = door
        self._token = token

    def heard(self) -> None:
        """Do nothing: that it lives says nothing about who it is."""

    def stirred(self) -> None:
        """Do nothing."""

    def text(self, text: str) -> None:
        """Take the first message."""
        self._door.said(self._connection, text, self._token)

    def binary(self, _data: bytes) -> None:
        """Refuse pictures of whoever has not shown a token."""
        refuse(self._connection, ProtocolError(hub_messages.MISSING_TOKEN, close_code=CloseCode.TOKEN))

    def turned(self) -> None:
        """Do nothing."""

    def lost(self, _reason: Reason) -> None:
        """Do nothing."""

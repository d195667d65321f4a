"""S4's viewers: programs that hear what cameras recognise, as soon as it is known, and can ask for the latest."""

from __future__ import annotations

from collections.abc import Callable, Collection

from espfleet.domain import hub_messages
from espfleet.domain.apriltags import tag_message
from espfleet.domain.closing import CloseCode, restart_reason
from espfleet.domain.devices import Reason
from espfleet.domain.messages import TEXT_BYTES, ProtocolError
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import text_frame
from espfleet.gateway.settings import GatewaySettings
from espfleet.store.tags import Tag


class HubViewer:
    """One viewer; what its connection takes it for.

    Attributes:
        connection: Where it is connected.
        token_hash: The stored hash that its token matched, or ``None`` where none was asked for.
    """

    most_bytes = TEXT_BYTES

    def __init__(self, connection: Connection, token_hash: str | None, host: HubViewers) -> None:
        self.connection = connection
        self.token_hash = token_hash
        self._host = host

    def heard(self) -> None:
        """Do nothing: a viewer may keep its connection alive so."""

    def stirred(self) -> None:
        """Do nothing."""

    def text(self, text: str) -> None:
        """Answer what it asks; what is unknown here is ignored."""
        event, _ = hub_messages.read_event(text)
        if event == "ping":
            self.connection.send(text_frame(hub_messages.pong(self._host.now_ms())))
        elif event == "request_latest_data":
            self.connection.send(self._host.latest())
        elif event == "identify":
            self.connection.send(text_frame(hub_messages.identified(hub_messages.VIEWER)))

    def binary(self, _data: bytes) -> None:
        """Refuse."""
        raise ProtocolError("a viewer may send no binary messages")

    def turned(self) -> None:
        """Do nothing."""

    def lost(self, _reason: Reason) -> None:
        """Forget it."""
        self._host.left(self)


class HubViewers:
    """All viewers of S4 at this gateway.

    Attributes:
        now_ms: Returns ms since the epoch.
    """

    def __init__(self, settings: GatewaySettings, now_ms: Callable[[], int]) -> None:
        self.now_ms = now_ms
        self._limits = settings.limits
        self._viewers: set[HubViewer] = set()
        self._newest: Tag | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._viewers)

    def begin(self, connection: Connection, token_hash: str | None, *, identified: bool) -> None:
        """Let a viewer in, and tell it the latest; one that asked for that without a word before gets no greeting.

        Raises:
            ProtocolError: If there are as many as there may be.
        """
        if len(self._viewers) >= self._limits.viewers:
            raise ProtocolError("this gateway has as many viewers as it may have", close_code=CloseCode.TOO_MUCH)
        viewer = HubViewer(connection, token_hash, self)
        connection.peer = viewer
        self._viewers.add(viewer)
        if identified:
            connection.send(text_frame(hub_messages.identified(hub_messages.VIEWER)))
        if self._newest is not None or not identified:
            connection.send(self.latest())

    def left(self, viewer: HubViewer) -> None:
        """Forget one that is gone."""
        self._viewers.discard(viewer)

    def latest(self) -> bytes:
        """Return the frame with what was recognised last, or that nothing was."""
        if self._newest is None:
            return text_frame(hub_messages.write(hub_messages.NO_DATA))
        return text_frame(tag_message(self._newest.fields, self._newest.at_ms))

    def remember(self, tag: Tag | None) -> None:
        """Take what was recognised last, from where it is kept."""
        if tag is not None and (self._newest is None or tag.at_ms >= self._newest.at_ms):
            self._newest = tag

    def recognised(self, tag: Tag) -> None:
        """Tell all what a camera recognised."""
        self.remember(tag)
        frame = text_frame(tag_message(tag.fields, tag.at_ms))
        for viewer in list(self._viewers):
            viewer.connection.send(frame)

    def set_tokens(self, token_hashes: Collection[str]) -> None:
        """Send those away whose token is not valid any more."""
        for viewer in list(self._viewers):
            if viewer.token_hash not in token_hashes and (viewer.token_hash is not None or token_hashes):
                reason = "this token is not valid any more" if viewer.token_hash else "a viewer must show its token"
                viewer.connection.close(CloseCode.TOKEN, reason, Reason.REFUSED)

    def tick(self, now_s: float) -> None:
        """Cut those that do not read."""
        for viewer in list(self._viewers):
            blocked_s = viewer.connection.blocked_s
            if blocked_s and now_s - blocked_s >= self._limits.blocked_ms / 1_000:
                viewer.connection.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)

    def close(self, retry_ms: int) -> None:
        """Close them all: the gateway will be back."""
        for viewer in list(self._viewers):
            viewer.connection.close(CloseCode.RESTARTING, restart_reason(retry_ms), Reason.GATEWAY)

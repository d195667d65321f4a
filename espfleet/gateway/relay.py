"""S2's relay: what one client says, all others at this gateway hear. Nobody keeps anything of it."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Callable, Collection
from http import HTTPStatus

from espfleet.domain.closing import CloseCode, restart_reason
from espfleet.domain.devices import Dialect, Reason
from espfleet.domain.messages import KEEPALIVE, TEXT_BYTES, ProtocolError
from espfleet.domain.places import FULL_S
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import text_frame
from espfleet.gateway.passes import Directory
from espfleet.gateway.peers import Refusal
from espfleet.gateway.settings import GatewaySettings

logger = logging.getLogger(__name__)

_NUMBER = re.compile(r"-?[0-9]{1,18}")
#: Messages that all clients together are sent in a second: a fifth of a core, so that lamps do not wait for them.
SENT_PER_S = 20_000


class RelayClient:
    """One client; what its connection takes it for.

    Attributes:
        connection: Where it is connected.
        number: What it calls itself; nobody else at this gateway does.
        token_hash: The stored hash that its token matched, or ``None`` where it is known otherwise.
        heard_s: When anything came from it last, on a clock that never jumps.
        asked: Whether it was sent a ping since.
    """

    most_bytes = TEXT_BYTES

    def __init__(self, relay: Relay, connection: Connection, number: int, token_hash: str | None, now_s: float) -> None:
        self.connection = connection
        self.number = number
        self.token_hash = token_hash
        self.heard_s = now_s
        self.asked = False
        self._relay = relay

    def heard(self) -> None:
        """Pass on what the connection takes for a keepalive: here it is a message like others."""
        self.text(KEEPALIVE)

    def stirred(self) -> None:
        """Note that it lives."""
        self.heard_s, self.asked = self._relay.clock(), False

    def text(self, text: str) -> None:
        """Tell all others."""
        self.stirred()
        self._relay.said(self, text)

    def binary(self, _data: bytes) -> None:
        """Refuse."""
        raise ProtocolError("the relay passes text on, and no binary messages")

    def turned(self) -> None:
        """Do nothing."""

    def lost(self, _reason: Reason) -> None:
        """Forget it."""
        self._relay.left(self)


class Relay:
    """All clients of the relay at this gateway.

    Args:
        settings: How long a client may be silent, and how many there may be.
        clock: Returns seconds that never jump.
        viewer_hash: Returns the stored hash of a viewer's token, ``None`` where it needs none; or raises.
    """

    def __init__(
        self, settings: GatewaySettings, clock: Callable[[], float], viewer_hash: Callable[[str], str | None]
    ) -> None:
        self.clock = clock
        self._settings = settings
        self._viewer_hash = viewer_hash
        self._clients: dict[int, RelayClient] = {}
        #: Of this second: messages that were sent for each who said something, and for all.
        self._sent: Counter[RelayClient] = Counter()
        self._sent_in_all = 0
        self._second_s = 0.0

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._clients)

    def refusal(self, text: str) -> Refusal | None:
        """Return why whoever calls itself so may not come in, or ``None``; it is told so before the upgrade."""
        if not _NUMBER.fullmatch(text):
            return Refusal(HTTPStatus.FORBIDDEN, "a client of the relay has a whole number: /relay/17")
        if int(text) in self._clients:
            logger.info("Client %s already exists.", int(text))
            return Refusal(HTTPStatus.FORBIDDEN, f"Client {int(text)} already exists.")
        if len(self._clients) >= self._settings.limits.viewers:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this relay has as many clients as it may have", FULL_S)
        return None

    def begin(self, connection: Connection, text: str, token: str, directory: Directory) -> None:
        """Let a client in.

        Raises:
            ProtocolError: If it is not known, another one has its number, or there are as many as there may be.
        """
        token_hash = self._known(connection.host, token, directory)
        if len(self._clients) >= self._settings.limits.viewers:
            raise ProtocolError("this relay has as many clients as it may have", close_code=CloseCode.TOO_MUCH)
        number = int(text)
        if number in self._clients:
            raise ProtocolError(f"Client {number} already exists.", close_code=CloseCode.SILENT)
        client = self._clients[number] = RelayClient(self, connection, number, token_hash, self.clock())
        connection.peer = client
        logger.info("client %d of the relay has come from %s", number, connection.host)

    def said(self, client: RelayClient, text: str) -> None:
        """Tell all but the one who said it.

        One message to hundreds costs as much as hundreds of messages. Where there are too many in all, those go who
        say more than their share.
        """
        self._sent[client] += len(self._clients) - 1
        self._sent_in_all += len(self._clients) - 1
        if self._sent_in_all > SENT_PER_S and self._sent[client] * len(self._sent) > SENT_PER_S:
            reason = f"too many messages for {len(self._clients) - 1} who hear them"
            client.connection.close(CloseCode.TOO_MUCH, reason, Reason.REFUSED)
            return
        frame = text_frame(f"Mes from {client.number}: {text}")
        for other in list(self._clients.values()):
            if other is not client:
                other.connection.send(frame)

    def left(self, client: RelayClient) -> None:
        """Forget one that is gone."""
        if self._clients.get(client.number) is client:
            del self._clients[client.number]
            logger.info("client %d of the relay has gone", client.number)

    def review(self, viewer_hashes: Collection[str], directory: Directory) -> None:
        """Send those away who would not be let in any more."""
        known = {*viewer_hashes, *directory.hashes_of(Dialect.RELAY)}
        for client in list(self._clients.values()):
            if client.token_hash is None:
                try:
                    self._known(client.connection.host, "", directory)
                except ProtocolError as exc:
                    client.connection.close(exc.close_code, str(exc), Reason.REFUSED)
            elif client.token_hash not in known:
                client.connection.close(CloseCode.TOKEN, "this token is not valid any more", Reason.REFUSED)

    def tick(self, now_s: float) -> None:
        """Ask the silent ones whether they live, and close those that have not answered for as long again."""
        if now_s - self._second_s >= 1.0:
            self._second_s = now_s
            self._sent.clear()
            self._sent_in_all = 0
        ping_s, blocked_s = self._settings.relay_ping_ms / 1_000, self._settings.limits.blocked_ms / 1_000
        for client in list(self._clients.values()):
            connection, silent_s = client.connection, now_s - client.heard_s
            if silent_s >= 2 * ping_s:
                connection.close(CloseCode.SILENT, f"silent for {silent_s:.0f} s", Reason.SILENT)
            elif connection.blocked_s and now_s - connection.blocked_s >= blocked_s:
                connection.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)
            elif silent_s >= ping_s and not client.asked:
                client.asked = True
                connection.ping()

    def close(self, retry_ms: int) -> None:
        """Close them all: the gateway will be back."""
        for client in list(self._clients.values()):
            client.connection.close(CloseCode.RESTARTING, restart_reason(retry_ms), Reason.GATEWAY)

    def _known(self, host: str, token: str, directory: Directory) -> str | None:
        """Return the stored hash that a client's token matched, or ``None`` where it is known without.

        A device that was registered for the relay is known by its token or its address; everybody else as viewers are.
        """
        try:
            return self._viewer_hash(token)
        except ProtocolError:
            return directory.find(host, token, (Dialect.RELAY,))[1]

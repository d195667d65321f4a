"""Who may connect: everything that is decided about a connection before it belongs to a device or a viewer."""

from __future__ import annotations

import asyncio
import ipaddress
import random
from collections.abc import Callable, Collection, Iterable
from http import HTTPStatus
from urllib.parse import parse_qs, urlsplit

from espfleet.domain.attempts import Attempts
from espfleet.domain.closing import CloseCode, crowded_reason, later_reason, restart_reason, unsure_reason
from espfleet.domain.devices import Reason
from espfleet.domain.messages import (
    HUB_PATH,
    LAMP_PATH,
    RELAY_PATH,
    TEXT_BYTES,
    WATCH_PATH,
    Hello,
    ProtocolError,
    Watch,
    parse,
)
from espfleet.domain.places import FULL_S
from espfleet.domain.tokens import matching_hash
from espfleet.gateway.connection import Connection
from espfleet.gateway.contests import Candidate
from espfleet.gateway.crowds import Crowd
from espfleet.gateway.dialects import Dialect
from espfleet.gateway.dialects.boards import S3Board
from espfleet.gateway.dialects.hub import HubCamera
from espfleet.gateway.dialects.pinglamp import PingLamp
from espfleet.gateway.dialects.v1 import V1
from espfleet.gateway.guests import Guest
from espfleet.gateway.handshakes import Handshake
from espfleet.gateway.hearing import Hearing
from espfleet.gateway.hub import Hub
from espfleet.gateway.hub_door import HubDoor, Refuse
from espfleet.gateway.hub_viewers import HubViewers
from espfleet.gateway.peers import Refusal
from espfleet.gateway.relay import Relay
from espfleet.gateway.sessions import Session
from espfleet.gateway.settings import GatewaySettings
from espfleet.gateway.viewers import Viewers

#: A client comes again after this if nobody could be asked whether it may be let in.
PUT_OFF_S = (2.0, 4.0)
#: A client that is refused so may be one that guesses.
_GUESSES = (CloseCode.TOKEN, CloseCode.UNREGISTERED)


class Admission:
    """The reception of all connections (``connection.Reception``).

    Attributes:
        viewer_hashes: Hashes of the tokens that viewers may show.
        hearing: Reads lamps that have settled.
        relay: S2's clients.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        hub: Hub,
        viewers: Viewers,
        hub_viewers: HubViewers,
        ask_for_news: Callable[[], None],
    ) -> None:
        self.viewer_hashes: Collection[str] = ()
        self.hearing = Hearing()
        self._hub = hub
        self._viewers = viewers
        self._ask_for_news = ask_for_news
        self._limits = settings.limits
        self._is_local = is_loopback(settings.host)
        self._v1 = V1(settings)
        spoken: tuple[Dialect, ...] = (PingLamp(settings.pinglamp_tick_ms), S3Board(settings))
        self._without_hello = {dialect.name: dialect for dialect in spoken}
        self.relay = Relay(settings, self.clock, self._viewer_hash)
        self._hub_door = HubDoor(hub, hub_viewers, HubCamera(settings), self._viewer_hash, self._try)
        self._crowd = Crowd(self._limits, self.clock)
        self._attempts = Attempts(self.clock)
        self._guests: dict[Connection, float] = {}
        self._doubts: dict[Connection, tuple[Callable[[], None], Refuse]] = {}
        self._going: dict[Connection, float] = {}
        self._blocked: set[Connection] = set()
        self._second_s = 0.0
        self._empty = asyncio.Event()

    def clock(self) -> float:
        """Return seconds on a clock that never jumps."""
        return self._hub.clock()

    def messages_left(self, taken: int) -> bool:
        """Tell whether a client that sent so many messages in this second may send one more."""
        return taken <= self._limits.messages_per_s

    def bytes_left(self, taken: int, most_bytes: int) -> bool:
        """Tell whether a client that sent so many bytes in this second may go on; cameras may send more."""
        limits = self._limits
        return taken <= (limits.bytes_per_s if most_bytes <= TEXT_BYTES else limits.picture_bytes_per_s)

    @property
    def waiting_bytes(self) -> int:
        """What may wait for a client that reads too slowly."""
        return self._limits.waiting_bytes

    @property
    def refused(self) -> int:
        """How many were told to come back later, or were cut."""
        return self._crowd.refused

    @property
    def come(self) -> int:
        """How many have come, whoever they were; with TLS they are counted again after their handshake."""
        return self._crowd.come_in_all

    def may_come(self, host: str) -> bool:
        """Tell whether a client with this address may begin a TLS handshake."""
        return self._crowd.may_come(host)

    def cut(self) -> None:
        """Count a client whose TLS handshake was cut for those of others."""
        self._crowd.cut()

    # What connections ask.

    def arrived(self, connection: Connection) -> None:
        """Give a new connection its time for the handshake."""
        if not self._crowd.may_come(connection.host):
            connection.abort()
            return
        in_the_way = self._crowd.come(connection)
        self._empty.clear()
        self._guests[connection] = self.clock() + self._limits.handshake_ms / 1_000
        for guest in in_the_way:
            self._make_way(guest)

    def _make_way(self, guest: Connection) -> None:
        """Send a guest away for one from where fewer come from."""
        self._crowd.cut()
        if guest.peer is None:
            guest.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "others are waiting too", FULL_S)
        else:
            guest.close(CloseCode.TRY_LATER, crowded_reason(FULL_S * 1_000), Reason.REFUSED)

    def refusal(self, connection: Connection, handshake: Handshake) -> Refusal | None:
        """Return why a request is not to be upgraded, or ``None``."""
        path, token, number = _split(handshake)
        crowded = self._crowd.refusal(connection)
        if crowded is not None:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, *crowded)
        if not handshake.upgrades:
            known = path in (LAMP_PATH, WATCH_PATH, HUB_PATH, RELAY_PATH)
            status = HTTPStatus.UPGRADE_REQUIRED if known else HTTPStatus.NOT_FOUND
            return Refusal(status, f"this is the WebSocket gateway of an espfleet: lamps connect to {LAMP_PATH}")
        # Who shows a token does not come in the name of a browser's user: S4's viewers are pages of anywhere.
        if not self._comes_from_here(handshake) and not (path == HUB_PATH and token):
            return Refusal(HTTPStatus.FORBIDDEN, "pages of other sites may not connect to this gateway")
        if path == WATCH_PATH and len(self._viewers) >= self._limits.viewers:
            return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway has as many viewers as it may have", FULL_S)
        return self.relay.refusal(number) if path == RELAY_PATH else None

    def opened(self, connection: Connection, handshake: Handshake) -> None:
        """Ask a new client what it is, unless its dialect has no words for that."""
        path, token, number = _split(handshake)
        if path in (LAMP_PATH, WATCH_PATH, HUB_PATH):
            self._guests[connection] = self.clock() + self._limits.hello_ms / 1_000
        if path == HUB_PATH:
            self._hub_door.greet(connection, token)
        elif path in (LAMP_PATH, WATCH_PATH):
            connection.peer = Guest(connection, self._watch if path == WATCH_PATH else self._hello)
        elif path == RELAY_PATH:
            self._try(connection, lambda: self.relay.begin(connection, number, token, self._hub.directory))
        else:
            self._try(connection, lambda: self._admit_by_address(connection, token))

    def closing(self, connection: Connection) -> None:
        """Give a client that was told to go a moment to read that."""
        self._introduce(connection)
        self._going[connection] = self.clock() + self._limits.linger_ms / 1_000

    def blocked(self, connection: Connection) -> None:
        """Remember who takes nothing."""
        self._blocked.add(connection)

    def flows(self, connection: Connection) -> None:
        """Forget that a client took nothing."""
        self._blocked.discard(connection)

    def left(self, connection: Connection) -> None:
        """Forget a connection."""
        self._blocked.discard(connection)
        self._guests.pop(connection, None)
        self._going.pop(connection, None)
        self._crowd.go(connection)
        if not len(self._crowd):
            self._empty.set()

    # What guests say.

    def _hello(self, connection: Connection, text: str) -> None:
        message = parse(text)
        if not isinstance(message, Hello):
            raise ProtocolError("the first message must be a hello")
        self._try(connection, lambda: self._admit_by_hello(connection, message))

    def _watch(self, connection: Connection, text: str) -> None:
        message = parse(text)
        if not isinstance(message, Watch):
            raise ProtocolError("the first message must be a watch")
        self._try(connection, lambda: self._admit_viewer(connection, message))

    def _admit_by_hello(self, connection: Connection, hello: Hello) -> None:
        self._hub.admit(connection, self._hub.directory.by_hello(hello, self._v1))

    def _admit_by_address(self, connection: Connection, token: str) -> None:
        self._hub.admit(connection, self._hub.directory.by_address(connection.host, token, self._without_hello))

    def _admit_viewer(self, connection: Connection, watch: Watch) -> None:
        self._viewers.begin(connection, watch, self._viewer_hash(watch.token), self._hub.now_ms())

    def _viewer_hash(self, token: str) -> str | None:
        """Return the stored hash that a viewer's token matches, or ``None`` where viewers need none.

        Raises:
            ProtocolError: If the token is missing or wrong.
        """
        is_free = self._is_local and not self.viewer_hashes and not token
        token_hash = matching_hash(token, self.viewer_hashes)
        if token_hash is None and not is_free:
            reason = "this is not the token of a viewer" if token else "a viewer must show its token"
            raise ProtocolError(reason, close_code=CloseCode.TOKEN)
        return token_hash

    def _try(self, connection: Connection, admit: Callable[[], None], refuse: Refuse | None = None) -> None:
        """Let a client in, or wait until it is sure that it may not: perhaps it was registered a moment ago."""
        try:
            admit()
        except ProtocolError as exc:
            if self._has_to_wait(connection, exc):
                return
            self._doubts[connection] = admit, refuse or _send_away
            connection.peer = Candidate(lambda: self._forget_doubt(connection))
            self._ask_for_news()
        else:
            self._introduce(connection)

    def _has_to_wait(self, connection: Connection, exc: ProtocolError) -> bool:
        """Send a client away, without looking twice, if too many wrong tokens came from its source.

        Only whoever shows a wrong token gets here, so nobody can lock anybody else out.
        """
        wait_s = self._attempts.wait_s(connection.host) if exc.close_code in _GUESSES else 0.0
        if not wait_s:
            return False
        connection.close(CloseCode.TRY_LATER, later_reason(round(wait_s * 1_000)), Reason.REFUSED)
        return True

    def _introduce(self, connection: Connection) -> None:
        """Take a connection for a guest no longer."""
        self._guests.pop(connection, None)
        self._crowd.introduce(connection)

    def doubtful(self) -> list[Connection]:
        """Return clients that could not be let in by what is known of the registry."""
        return list(self._doubts)

    def decide(self, connections: Iterable[Connection]) -> None:
        """Let in, or send away, clients that were doubtful before the newest of the registry was read."""
        for connection in connections:
            if connection in self._doubts:
                self._decide(connection)

    def _decide(self, connection: Connection) -> None:
        admit, refuse = self._doubts.pop(connection)
        try:
            admit()
        except ProtocolError as exc:
            if exc.close_code in _GUESSES:
                self._attempts.guessed(connection.host)
            refuse(connection, exc)
        else:
            self._introduce(connection)

    def _put_off(self, connection: Connection) -> None:
        """Ask a client to come again: by what is known it may not be let in, but Redis is away, or slow.

        Told that it is not registered, a lamp that is would stay away for long; and nobody guesses who is not answered.
        """
        _, refuse = self._doubts.pop(connection)
        wait_ms = round(random.uniform(*PUT_OFF_S) * 1_000)
        refuse(connection, ProtocolError(unsure_reason(wait_ms), close_code=CloseCode.TRY_LATER))

    def _forget_doubt(self, connection: Connection) -> None:
        self._doubts.pop(connection, None)

    # The clock.

    def tick(self, now_s: float) -> None:
        """End what takes too long, and count messages anew each second."""
        for connection in [one for one, until_s in self._guests.items() if now_s >= until_s]:
            if connection.peer is None:
                connection.refuse(HTTPStatus.REQUEST_TIMEOUT, "the handshake took too long")
            elif connection in self._doubts:
                self._put_off(connection)
            else:
                connection.close(CloseCode.PROTOCOL, "the first message did not come in time", Reason.REFUSED)
        for connection in [one for one, until_s in self._going.items() if now_s >= until_s]:
            connection.abort()
        stuck_at_s = now_s - self._limits.blocked_ms / 1_000
        for connection in [one for one in self._blocked if one.blocked_s <= stuck_at_s]:
            if isinstance(connection.peer, Session):
                connection.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)
        if now_s - self._second_s >= 1.0:
            self._second_s = now_s
            most = self._limits.messages_per_s
            for connection in self._crowd:
                if connection.taken or connection.taken_bytes:
                    if connection.taken > most:
                        connection.close(CloseCode.TOO_MUCH, "too many messages", Reason.REFUSED)
                    connection.taken = connection.taken_bytes = 0

    async def close(self, retry_ms: int, within_s: float) -> None:
        """Send guests away, wait until everybody has gone, and cut who has not."""
        for connection in list(self._guests):
            if connection.peer is None:
                connection.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "this gateway is restarting", 1)
            else:
                connection.close(CloseCode.RESTARTING, restart_reason(retry_ms), Reason.GATEWAY)
        try:
            async with asyncio.timeout(within_s):
                if len(self._crowd):
                    await self._empty.wait()
        except TimeoutError:
            for connection in self._crowd:
                connection.abort()
            await asyncio.sleep(0)
        self.hearing.close()

    def _comes_from_here(self, handshake: Handshake) -> bool:
        """Tell whether a request comes from no web page, or from one of this machine's own.

        Browsers let any page connect to any address, and say where the page is from. A name that somebody else's
        DNS points here is no proof either, so where no token is asked for the page must name us by address.
        """
        if not handshake.origins:
            return True
        if len(handshake.origins) != 1 or len(handshake.hosts) != 1:
            return False
        try:
            origin = urlsplit(handshake.origins[0]).hostname
            host = urlsplit(f"//{handshake.hosts[0]}").hostname
        except ValueError:
            return False
        return origin == host and (not self._is_local or is_loopback(host or ""))


def _send_away(connection: Connection, exc: ProtocolError) -> None:
    connection.close(exc.close_code, str(exc), Reason.REFUSED)


def _split(handshake: Handshake) -> tuple[str, str, str]:
    """Return path, token, and what a client of the relay calls itself: ``/relay/17``, or ``/relay?token=…&id=17``.

    The second form is for clients that put their number behind whatever URL they are given.
    """
    path, _, query = handshake.target.partition("?")
    try:
        values = parse_qs(query, max_num_fields=20) if query else {}
    except ValueError:
        values = {}
    number = values.get("id", [""])[0]
    if path.startswith(f"{RELAY_PATH}/"):
        path, number = RELAY_PATH, path.removeprefix(f"{RELAY_PATH}/")
    return path, values.get("token", [""])[0] or _bearer(handshake), number


def _bearer(handshake: Handshake) -> str:
    """Return the token in a request's ``Authorization``, as S4 writes it or as others do, or ``""``."""
    given = handshake.authorizations
    return given[0].removeprefix("Bearer ").strip() if len(given) == 1 else ""


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"

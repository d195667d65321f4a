"""The door where TLS is spoken: it looks at what a client sends first, and lets nobody in who does not begin TLS.

asyncio's own would begin the handshake with anybody, as many at once as come, and hang up on plain clients without a
word.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import traceback
from asyncio import sslproto
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from espfleet.domain.attempts import source_of
from espfleet.domain.slots import Slots

logger = logging.getLogger(__name__)

MayCome = Callable[[str], bool]
Cut = Callable[[], None]
#: What is answered to a client that does not begin TLS, by what it said first.
Answer = Callable[[bytes], bytes]

#: Connections taken from the kernel in one turn of the loop, so that levels stay on time meanwhile.
ACCEPTS_A_TURN = 32
#: So long a client waits for the handshakes of another source, before the one that began first is cut.
PATIENCE_S = 0.5
LOOK_S = 0.1
#: Without files or memory for more, the kernel is left alone for so long.
PAUSE_S = 1.0
#: asyncio keeps a buffer of 256 KiB for each connection. What lamps send fits into this (measured: 30 KiB a lamp in
#: all, 40 with a buffer for the largest record of TLS, 48 on uvloop); a picture is read in several pieces.
TLS_BUFFER_BYTES = 4_096
#: First byte of a TLS handshake (RFC 8446, 5.1).
_HANDSHAKE = b"\x16"
#: As much is looked at of what a plain client says.
_SAID_BYTES = 4_096
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(slots=True, eq=False)
class _Caller:
    """A client at the door: it waits, or is in its handshake."""

    connection: socket.socket
    source: str
    greeting: asyncio.Task[None] | None = None
    is_given_away: bool = False


class TlsDoor:
    """Takes connections of one listening socket.

    Where more come than there may be handshakes, they wait, and sources take turns: see ``Slots``. They wait here, not
    in the kernel, where nobody gets past a source that sends more and more.

    Args:
        listener: It listens already, and does not block.
        factory: Makes the protocol of a connection whose handshake is done.
        tls: The server's side.
        answer: Makes the answer to a client that does not begin TLS.
        may_come: Tells whether a client may begin a handshake, by its address.
        handshakes: How many go on at once.
        handshake_ms: How long each may take.
        waiting: How many more may wait for their turn; beyond that, those of the source with the most are cut.
        cut: Called for each who is cut for others.
    """

    def __init__(
        self,
        listener: socket.socket,
        factory: Callable[[], asyncio.Protocol],
        tls: ssl.SSLContext,
        *,
        answer: Answer,
        may_come: MayCome,
        handshakes: int,
        handshake_ms: int,
        waiting: int,
        cut: Cut,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._factory = factory
        self._tls = tls
        self._answer = answer
        self._may_come = may_come
        self._within_s = handshake_ms / 1_000
        self._cut = cut
        self._slots: Slots[_Caller] = Slots(handshakes, waiting, PATIENCE_S)
        self._greetings: set[asyncio.Task[None]] = set()
        self._look_timer: asyncio.TimerHandle | None = None
        self._open = True
        self._taking = False
        sslproto.SSLProtocol.max_size = TLS_BUFFER_BYTES
        self._take()

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Where it listens."""
        return (self._listener,)

    def close(self) -> None:
        """Take no more connections, and end the handshakes."""
        if self._open:
            self._open = False
            self._rest()
            self._listener.close()
            if self._look_timer is not None:
                self._look_timer.cancel()
            for caller in self._slots.leave():
                caller.connection.close()
            for greeting in self._greetings:
                greeting.cancel()

    async def wait_closed(self) -> None:
        """Wait until the handshakes have ended that were under way when it was closed."""
        await asyncio.gather(*self._greetings, return_exceptions=True)

    def _take(self) -> None:
        if self._open and not self._taking:
            self._taking = True
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _rest(self) -> None:
        if self._taking:
            self._taking = False
            self._loop.remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                connection, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as exc:
                if exc.errno not in _SCARCE:
                    raise
                logger.warning("no more connections can be taken for now: %s", exc.strerror)
                self._rest()
                self._loop.call_later(PAUSE_S, self._take)
                return
            connection.setblocking(False)
            host = str(address[0])
            if not self._may_come(host):
                connection.close()
                continue
            caller = _Caller(connection, source_of(host))
            gone = self._slots.come(caller.source, caller, self._loop.time())
            if gone is not None:
                gone.connection.close()
                self._cut()
            self._begin()

    def _begin(self) -> None:
        """Begin as many handshakes as there may be."""
        while (caller := self._slots.begin()) is not None:
            greeting = caller.greeting = self._loop.create_task(self._greet(caller), name="TLS handshake")
            self._greetings.add(greeting)
            greeting.add_done_callback(partial(self._greeted, caller))
        if self._slots.waiting and self._look_timer is None:
            self._look_timer = self._loop.call_later(LOOK_S, self._look)

    def _look(self) -> None:
        """See that those who wait do not wait for a source that stalls."""
        self._look_timer = None
        while (caller := self._slots.cut(self._loop.time())) is not None:
            if caller.greeting is not None:
                caller.greeting.cancel()
            self._cut()
            self._begin()
        self._begin()

    def _greeted(self, caller: _Caller, greeting: asyncio.Task[None]) -> None:
        self._greetings.discard(greeting)
        self._slots.end(caller.source, caller)
        if not caller.is_given_away:
            caller.connection.close()
        if self._open:
            self._begin()
        if not greeting.cancelled() and (exc := greeting.exception()) is not None:
            logger.debug("a client did not come in: %s", exc)

    async def _greet(self, caller: _Caller) -> None:
        """Let a client in that speaks TLS; tell others to."""
        connection = caller.connection
        try:
            async with asyncio.timeout(self._within_s):
                if await self._first_byte(connection) == _HANDSHAKE:
                    caller.is_given_away = True
                    await self._loop.connect_accepted_socket(self._factory, connection, ssl=self._tls)
                else:
                    said = await self._loop.sock_recv(connection, _SAID_BYTES)
                    if said:
                        await self._loop.sock_sendall(connection, self._answer(said))
                    connection.shutdown(socket.SHUT_WR)
                    # Closed with something unread, the answer would be lost.
                    while await self._loop.sock_recv(connection, 4_096):
                        pass
        except (OSError, TimeoutError) as exc:
            logger.debug("a client did not come in: %s", exc)
            _let_go(exc)

    async def _first_byte(self, connection: socket.socket) -> bytes:
        """Return the first byte that comes, or ``b""``, and leave it there."""
        ready = asyncio.Event()
        self._loop.add_reader(connection.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            self._loop.remove_reader(connection.fileno())
        return connection.recv(1, socket.MSG_PEEK)


def _let_go(exc: BaseException) -> None:
    """Free what the calls held that led to a failure: 30 KiB of each handshake, until the collector would find it."""
    cause: BaseException | None = exc
    while cause is not None:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__context__


def upgrade_required(sentence: str) -> bytes:
    """Return the HTTP answer that tells a plain client to speak TLS: an error, and on purpose no redirect.

    A redirect would make a program that shows a token go on to do so in plain text, each time, without anybody
    noticing; and whoever listens on the way could answer with one of his own.

    Args:
        sentence: What to do, in ASCII.
    """
    body = f"{sentence}\n".encode("ascii")
    head = (
        "HTTP/1.1 426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1\r\nConnection: Upgrade, close\r\n"
        "Content-Type: text/plain; charset=us-ascii\r\nX-Content-Type-Options: nosniff\r\nCache-Control: no-store\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body

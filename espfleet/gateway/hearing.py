"""Reading lamps that have settled: all that say something at a moment are read in one step of the event loop.

asyncio looks at each socket by itself, which takes as long as what a keepalive says. So the sockets of such lamps are
taken from it, and watched by an epoll of their own; it gets them back when they end. What many lamps say gathers for
some milliseconds, while the loop wakes up at once for everything else. That of few wakes it up as one file.
"""

from __future__ import annotations

import asyncio
import select
import socket

from espfleet.gateway.accepting import NOWHERE

#: Between two readings of many, in seconds.
REST_S = 0.005
#: So many say something about as often as that, and are many. (To watch an epoll takes the longer the more it watches:
#: half a millisecond for ten thousand. So it is not done again and again.)
MANY = 256
#: Read in one turn of the loop, so that nobody else is kept waiting for long.
AT_ONCE = 512
#: Read at once of one lamp: some of its messages.
READ_BYTES = 4_096


class Hearing:
    """All that are read so; where the system has no epoll there are none."""

    def __init__(self) -> None:
        self._heard: dict[int, tuple[socket.socket, asyncio.Transport, asyncio.Protocol]] = {}
        self._poll: select.epoll | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._rest: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._heard)

    def add(self, sock: socket.socket, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Read for a protocol from now on, in place of its transport; with ``NOWHERE`` nothing changes."""
        if sock is NOWHERE or transport.is_closing():
            return
        if self._poll is None and hasattr(select, "epoll"):
            self._loop, self._poll = asyncio.get_running_loop(), select.epoll()
            self._loop.add_reader(self._poll.fileno(), self._read)
        if self._poll is not None and self._loop is not None:
            transport.pause_reading()
            self._heard[sock.fileno()] = sock, transport, protocol
            self._poll.register(sock, select.EPOLLIN)
            if self._rest is None and len(self._heard) >= MANY:
                self._loop.remove_reader(self._poll.fileno())
                self._rest = self._loop.call_later(REST_S, self._read_many)

    def forget(self, sock: socket.socket) -> None:
        """Read a socket no more that is about to be closed: the system then forgets it by itself."""
        self._heard.pop(sock.fileno(), None)

    def close(self) -> None:
        """Read nobody any more."""
        self._heard.clear()
        if self._rest is not None:
            self._rest.cancel()
            self._rest = None
        if self._poll is not None and self._loop is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = self._loop = None

    def _read_many(self) -> None:
        if self._poll is None or self._loop is None:
            return
        if len(self._heard) < MANY // 2:
            self._rest = None
            self._loop.add_reader(self._poll.fileno(), self._read)
        else:
            self._rest = self._loop.call_later(REST_S, self._read_many)
        self._read()

    def _read(self) -> None:
        heard, poll = self._heard, self._poll
        for number, _ in poll.poll(0, AT_ONCE) if poll is not None else ():
            found = heard.get(number)
            if found is None or found[1].is_closing():
                continue
            sock, transport, protocol = found
            try:
                data = sock.recv(READ_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                _tell(protocol, transport, data)
            else:
                # Its transport finds the same, and knows what follows from it.
                del heard[number]
                if poll is not None:
                    poll.unregister(sock)
                transport.resume_reading()


def _tell(protocol: asyncio.Protocol, transport: asyncio.Transport, data: bytes) -> None:
    taken = False
    try:
        protocol.data_received(data)
        taken = True
    finally:
        # As with asyncio: a defect that one lamp meets is told, and ends its connection. Others have their turn.
        if not taken:
            transport.abort()

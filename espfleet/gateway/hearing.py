"""Reading lamps that have settled: all that say something at a moment are read in one step of the event loop.

asyncio looks at each socket by itself, which takes as long as what a keepalive says. So the sockets of such lamps are
taken from it, and watched by an epoll of their own, which is one file to asyncio; it gets them back when they end.
"""

from __future__ import annotations

import asyncio
import select
import socket

from espfleet.gateway.accepting import NOWHERE

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

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._heard)

    def add(self, sock: socket.socket, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        """Read for a protocol from now on, in place of its transport; with ``NOWHERE`` nothing changes."""
        if sock is NOWHERE or transport.is_closing():
            return
        poll = self._poll or self._open()
        if poll is not None:
            transport.pause_reading()
            self._heard[sock.fileno()] = sock, transport, protocol
            poll.register(sock, select.EPOLLIN)

    def forget(self, sock: socket.socket) -> None:
        """Read a socket no more that is about to be closed: the system then forgets it by itself."""
        self._heard.pop(sock.fileno(), None)

    def close(self) -> None:
        """Read nobody any more."""
        self._heard.clear()
        if self._poll is not None and self._loop is not None:
            self._loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = self._loop = None

    def _open(self) -> select.epoll | None:
        if not hasattr(select, "epoll"):
            return None
        self._loop, self._poll = asyncio.get_running_loop(), select.epoll()
        self._loop.add_reader(self._poll.fileno(), self._turn, self._poll)
        return self._poll

    def _turn(self, poll: select.epoll) -> None:
        heard = self._heard
        for number, _ in poll.poll(0, AT_ONCE):
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

"""Reading lamps that have settled: all that say something at a moment are read in one step of the event loop.

asyncio looks at each socket by itself, which takes as long as what a keepalive says. So the sockets of such lamps are
taken from it, and watched by an epoll of their own, which is one file to asyncio; it gets them back when they end.
"""

from __future__ import annotations

import asyncio
import select
import socket
from typing import Protocol

#: Read in one turn of the loop, so that nobody else is kept waiting for long.
AT_ONCE = 512


class Speaker(Protocol):
    """Who is read so."""

    def readable(self) -> None:
        """Read what is there, and take it."""

    def abort(self) -> None:
        """Cut the connection."""


class Hearing:
    """All that are read so; where the system has no epoll there are none."""

    def __init__(self) -> None:
        self._speakers: dict[int, Speaker] = {}
        self._poll: select.epoll | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._speakers)

    def add(self, sock: socket.socket, transport: asyncio.Transport, speaker: Speaker) -> None:
        """Read a socket from now on, in place of its transport."""
        poll = self._poll or self._open()
        if poll is None or sock.fileno() in self._speakers or transport.is_closing():
            return
        transport.pause_reading()
        self._speakers[sock.fileno()] = speaker
        poll.register(sock, select.EPOLLIN)

    def give_back(self, sock: socket.socket, transport: asyncio.Transport) -> None:
        """Let the transport read a socket again: it knows what to do when there is nothing more to read."""
        if self._speakers.pop(sock.fileno(), None) is not None and self._poll is not None:
            self._poll.unregister(sock)
            transport.resume_reading()

    def forget(self, sock: socket.socket) -> None:
        """Read a socket no more that is about to be closed: the system then forgets it by itself."""
        self._speakers.pop(sock.fileno(), None)

    def close(self) -> None:
        """Read nobody any more."""
        self._speakers.clear()
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
        speakers = self._speakers
        for number, _ in poll.poll(0, AT_ONCE):
            speaker = speakers.get(number)
            if speaker is None:
                continue
            whole = False
            try:
                speaker.readable()
                whole = True
            finally:
                # As with asyncio: a defect that a lamp meets is told, and ends its connection. Others have their turn.
                if not whole:
                    speaker.abort()

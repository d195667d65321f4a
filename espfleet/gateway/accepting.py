"""Accepting connections so that frames can be sent past asyncio, which shows its protocols a socket that cannot send.

What is sent so goes to the kernel at once, without a look at what waits in the transport; so it may be done only while
nothing waits there.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any
from weakref import WeakValueDictionary

#: Returns the socket of a new transport, or ``NOWHERE``.
SocketOf = Callable[[asyncio.BaseTransport], socket.socket]


def _closed() -> socket.socket:
    with socket.socket() as closed:
        return closed


#: Takes nothing, whatever is sent.
NOWHERE = _closed()


def no_socket(_transport: asyncio.BaseTransport) -> socket.socket:
    """Return ``NOWHERE``: frames go through transports alone."""
    return NOWHERE


class Listener(socket.socket):
    """A listening socket that remembers what it has accepted until that is asked for."""

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        # Weakly: a connection that no transport was made for is closed by nobody else.
        self._accepted: WeakValueDictionary[int, socket.socket] = WeakValueDictionary()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, as any socket does."""
        accepted, address = super().accept()
        self._accepted[accepted.fileno()] = accepted
        return accepted, address

    def socket_of(self, transport: asyncio.BaseTransport) -> socket.socket:
        """Return the socket of a new transport; ``NOWHERE`` if it was not accepted here, as with uvloop."""
        shown = transport.get_extra_info("socket")
        return NOWHERE if shown is None else self._accepted.pop(shown.fileno(), NOWHERE)

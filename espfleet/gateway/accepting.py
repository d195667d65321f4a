"""Accepting connections so that frames can be sent past asyncio, which shows its protocols a socket that cannot send.

What is sent so goes to the kernel at once, without a look at what waits in the transport; so it may be done only while
nothing waits there.
"""

from __future__ import annotations

import asyncio
import socket
import struct
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


#: Of ``struct tcp_info`` (Linux, ``linux/tcp.h``): the state, and for how long nothing has come, ms.
_INFO = struct.Struct("=B51xI")
#: The other side has closed: ``TCP_CLOSE``, ``TCP_CLOSE_WAIT``.
_CLOSED = (7, 8)
#: Who asked so long ago and has closed since does not wait for an answer.
GAVE_UP_MS = 1_000


class Listener(socket.socket):
    """A listening socket that remembers what it has accepted until that is asked for.

    Who has given up while it waited in the kernel is not accepted: a gateway that a storm has overtaken would spend
    its time on handshakes with lamps that have gone, while the next ones wait until they go too.
    """

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        # Weakly: a connection that no transport was made for is closed by nobody else.
        self._accepted: WeakValueDictionary[int, socket.socket] = WeakValueDictionary()

    def accept(self) -> tuple[socket.socket, Any]:
        """Accept a connection, as any socket does."""
        accepted, address = super().accept()
        while _gave_up(accepted):
            accepted.close()
            accepted, address = super().accept()
        self._accepted[accepted.fileno()] = accepted
        return accepted, address

    def socket_of(self, transport: asyncio.BaseTransport) -> socket.socket:
        """Return the socket of a new transport; ``NOWHERE`` if it was not accepted here, as with uvloop."""
        shown = transport.get_extra_info("socket")
        return NOWHERE if shown is None else self._accepted.pop(shown.fileno(), NOWHERE)


def _gave_up(accepted: socket.socket) -> bool:
    # Other systems do not tell.
    if not hasattr(socket, "TCP_INFO"):
        return False
    state, silent_ms = _INFO.unpack(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO.size))
    return state in _CLOSED and silent_ms >= GAVE_UP_MS

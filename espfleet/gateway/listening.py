"""Sockets to listen on: made so that a storm of newcomers waits in the kernel, and slow readers do not fill it."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Callable, Sequence
from functools import partial
from ssl import SSLContext
from typing import Protocol

from espfleet.errors import StartError
from espfleet.gateway.accepting import Listener, SocketOf, no_socket
from espfleet.gateway.settings import GatewaySettings
from espfleet.tls_door import ACCEPTS_A_TURN, Cut, MayCome, TlsDoor, upgrade_required

#: Connections that may wait in the kernel while others are served.
BACKLOG = 4_096
#: What the kernel may hold for one client: a lamp that stops reading must not find many old levels afterwards.
SEND_BYTES = 16_384
UNSENT_BYTES = 2_048
_PLAIN = upgrade_required("this gateway speaks TLS only: connect with wss:// instead of ws://")


class Server(Protocol):
    """What listens."""

    @property
    def sockets(self) -> Sequence[socket.socket]:
        """Where it listens."""

    def close(self) -> None:
        """Take no more connections; those that are open stay."""


async def listen(
    settings: GatewaySettings, factory: Callable[[SocketOf], asyncio.Protocol], may_come: MayCome, cut: Cut
) -> list[Server]:
    """Listen on every address that the host stands for.

    Args:
        settings: Where.
        factory: Makes the protocol of a connection, with a function that finds the socket of its transport.
        may_come: Tells whether a client may begin a TLS handshake, by its address.
        cut: Called for each client whose TLS handshake is cut for others.

    Raises:
        StartError: If that is not possible; the text says what to do.
    """
    loop = asyncio.get_running_loop()
    servers: list[Server] = []
    try:
        for listener in await _sockets(settings):
            if settings.tls is not None:
                servers.append(_tls_door(listener, partial(factory, no_socket), settings, settings.tls, may_come, cut))
                listener.listen(BACKLOG)
                continue
            servers.append(
                await loop.create_server(partial(factory, listener.socket_of), sock=listener, backlog=ACCEPTS_A_TURN)
            )
            # asyncio takes as many connections in one turn as its backlog is long; the kernel may hold more.
            listener.listen(BACKLOG)
    except BaseException:
        for server in servers:
            server.close()
        raise
    return servers


def port_of(servers: Sequence[Server]) -> int:
    """Return the port that was chosen."""
    port: int = servers[0].sockets[0].getsockname()[1]
    return port


def _tls_door(
    listener: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    settings: GatewaySettings,
    tls: SSLContext,
    may_come: MayCome,
    cut: Cut,
) -> TlsDoor:
    limits = settings.limits
    return TlsDoor(
        listener,
        factory,
        tls,
        answer=lambda _said: _PLAIN,
        may_come=may_come,
        handshakes=limits.handshakes,
        handshake_ms=limits.handshake_ms,
        waiting=BACKLOG,
        cut=cut,
    )


async def _sockets(settings: GatewaySettings) -> list[Listener]:
    host, port = settings.host, settings.port
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError:
        raise StartError(f"the gateway cannot listen on {host!r}: no such address or host; set SERVER_HOST") from None
    listeners: list[Listener] = []
    failure: OSError | None = None
    for family, kind, protocol, _, address in dict.fromkeys(found):
        listener = Listener(family, kind, protocol)
        try:
            _prepare(listener, settings.share_port)
            # With port 0 the first socket chooses, and the others follow.
            chosen = listeners[0].getsockname()[1] if listeners and not port else port
            listener.bind((address[0], chosen, *address[2:]))
        except OSError as exc:
            listener.close()
            failure = exc
            if exc.errno != errno.EADDRNOTAVAIL:
                break
        else:
            listeners.append(listener)
    if failure is not None and (not listeners or failure.errno != errno.EADDRNOTAVAIL):
        for listener in listeners:
            listener.close()
        raise _why(settings, failure) from failure
    return listeners


def _prepare(listener: socket.socket, share_port: bool) -> None:
    listener.setblocking(False)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if share_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if listener.family == socket.AF_INET6:
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    # Connections inherit both.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
    with contextlib.suppress(OSError):
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)


def _why(settings: GatewaySettings, exc: OSError) -> StartError:
    host, port = settings.host, settings.port
    if exc.errno == errno.EADDRINUSE:
        return StartError(f"port {port} of {host} is in use by another program: stop that one, or set SERVER_PORT")
    if exc.errno in (errno.EACCES, errno.EPERM):
        return StartError(f"this user may not listen on port {port}: set SERVER_PORT to 1024 or more")
    if exc.errno == errno.EADDRNOTAVAIL:
        return StartError(f"{host} is not an address of this machine: set SERVER_HOST to one that is")
    return StartError(f"the gateway cannot listen on port {port} of {host}: {exc.strerror}")

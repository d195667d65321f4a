"""Where the web listens: a socket, a door where TLS is spoken, and the URL that leads there."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Callable
from ssl import SSLContext

from espfleet.errors import StartError
from espfleet.tls_door import Cut, MayCome, TlsDoor, upgrade_required
from espfleet.web.settings import WebSettings

BACKLOG = 1_024
#: Only a name or an address: nothing else that a client says comes back to it.
_HOST = re.compile(
    rb"^host:[ \t]*([a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(:\d{1,5})?[ \t]*\r?$", re.I | re.M
)


def listen(settings: WebSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        StartError: If that is not possible.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named, asyncio turns Nagle's algorithm off, which would hold each answer up for 40 ms.
        listening = socket.socket(family, kind, proto or socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except OSError as exc:
        raise StartError(
            f"the web cannot listen on {settings.host}:{settings.port}: {exc.strerror}; set WEB_HOST or WEB_PORT"
        ) from exc
    return listening


def open_door(
    listening: socket.socket,
    factory: Callable[[], asyncio.Protocol],
    settings: WebSettings,
    tls: SSLContext,
    may_come: MayCome,
    cut: Cut,
) -> TlsDoor:
    """Let clients come in that speak TLS, and tell others to."""
    limits = settings.limits
    return TlsDoor(
        listening,
        factory,
        tls,
        answer=lambda said: upgrade_required(https_instead(said, settings.port)),
        may_come=may_come,
        handshakes=limits.handshakes,
        handshake_ms=limits.handshake_ms,
        waiting=BACKLOG,
        cut=cut,
    )


def https_instead(said: bytes, port: int) -> str:
    """Return what to tell a client that speaks plain HTTP.

    Args:
        said: The beginning of its request; the server is called there as the client knows it.
        port: The server's, for a request that does not name it.
    """
    named = _HOST.search(said)
    if named is None:
        return "this port speaks https: use https:// instead of http://"
    told = named[2].decode() if named[2] else f":{port}"
    return f"this port speaks https: open https://{named[1].decode()}{told}/"


def url_of(settings: WebSettings) -> str:
    """Return the URL by which a browser on this machine reaches the dashboard."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls else "http"
    return f"{scheme}://[{host}]:{settings.port}/" if ":" in host else f"{scheme}://{host}:{settings.port}/"

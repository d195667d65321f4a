"""Requests that ask for a WebSocket: what is decided by, and the usual one read and answered by hand (RFC 6455, 4.2).

Lamps come by the thousand when a gateway has restarted. Their requests are all alike, so one that is whole and has
nothing unusual about it is read here; ``websockets``' parser takes every other one, right or wrong.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

from websockets.datastructures import Headers
from websockets.http11 import Request

#: A usual request is not longer than this, and has not more headers.
USUAL_BYTES = 2_048
USUAL_HEADERS = 32

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_ACCEPTED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "
_USUAL = re.compile(
    rb"GET (/[!-~]*) HTTP/1\.1\r\n"
    rb"((?:[-!#$%&'*+.^_`|~0-9A-Za-z]+:[\t -~]*\r\n)+)"
    rb"\r\n"
)
_KEY = re.compile(rb"[+/0-9A-Za-z]{21}[AQgw]==")
#: Headers that decide something; one that comes twice is not usual.
_READ = frozenset(
    (b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"origin", b"authorization")
)
#: Headers by which something may follow the request.
_UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"expect"))


class Handshake(NamedTuple):
    """A request, as far as it matters who may come.

    Attributes:
        target: Path and query.
        upgrades: Whether it asks for another protocol.
        hosts, origins, authorizations: Values of these headers, in their order.
    """

    target: str
    upgrades: bool
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    authorizations: tuple[str, ...] = ()


def handshake_of(request: Request) -> Handshake:
    """Return what ``websockets`` has read."""
    headers: Headers = request.headers
    return Handshake(
        request.path,
        "Upgrade" in headers,
        tuple(headers.get_all("Host")),
        tuple(headers.get_all("Origin")),
        tuple(headers.get_all("Authorization")),
    )


def usual_handshake(data: bytes) -> tuple[Handshake, bytes] | None:
    """Return a request for a WebSocket and the answer that accepts it; ``None`` if it is anything but a usual one.

    A usual one is whole, alone, in ASCII, and asks for version 13 with a correct key.
    """
    if len(data) > USUAL_BYTES:
        return None
    match = _USUAL.fullmatch(data)
    if match is None:
        return None
    lines = match[2].splitlines()
    if len(lines) > USUAL_HEADERS:
        return None
    found: dict[bytes, bytes] = {}
    for line in lines:
        name, _, value = line.partition(b":")
        name = name.lower()
        if name in _READ and name not in found:
            found[name] = value.strip()
        elif name in _READ or name in _UNUSUAL:
            return None
    answer = _accepted(found)
    if answer is None:
        return None
    told = {name: (value.decode(),) for name, value in found.items()}
    return Handshake(
        match[1].decode(),
        upgrades=True,
        hosts=told.get(b"host", ()),
        origins=told.get(b"origin", ()),
        authorizations=told.get(b"authorization", ()),
    ), answer


def _accepted(headers: dict[bytes, bytes]) -> bytes | None:
    """Return the answer that accepts, or ``None`` where the headers do not ask for a WebSocket as they should."""
    key = headers.get(b"sec-websocket-key", b"")
    is_right = (
        headers.get(b"upgrade", b"").lower() == b"websocket"
        and headers.get(b"sec-websocket-version") == b"13"
        and b"upgrade" in [option.strip() for option in headers.get(b"connection", b"").lower().split(b",")]
        and _KEY.fullmatch(key) is not None
    )
    if not is_right:
        return None
    digest = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest())
    return _ACCEPTED + digest + b"\r\n\r\n"

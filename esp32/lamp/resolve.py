"""Names to addresses without stopping the lamp: the chip's own ``getaddrinfo`` would hold up the light for seconds.

Borrowed by the link, for gateways that are known by name.
"""

import asyncio
import os
import socket

_TRIES = 3
_ANSWER_MS = 1000
_LOOK_MS = 20
_BYTES = 512
# Names that end so are asked for in the local network itself (mDNS).
_LOCAL = ".local"
_LOCAL_SERVER = ("224.0.0.251", 5353)


async def resolve(host: str, server: str, port: int = 53) -> str:
    """Return the IPv4 address of ``host``, asking the DNS server at ``server``.

    Raises:
        OSError: If there is no answer, or none with an address.
    """
    if host.endswith(_LOCAL):
        server, port = _LOCAL_SERVER
    where = socket.getaddrinfo(server, port)[0][-1]
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        for _ in range(_TRIES):
            number = os.urandom(2)
            sock.sendto(question(host, number), where)
            for _ in range(_ANSWER_MS // _LOOK_MS):
                await asyncio.sleep_ms(_LOOK_MS)
                try:
                    data = sock.recvfrom(_BYTES)[0]
                except OSError:
                    continue
                if data[:2] == number:
                    return answer(data)
    finally:
        sock.close()
    raise OSError(f"nobody answered who {host} is")


def question(host: str, number: bytes) -> bytes:
    """Return the message that asks for the IPv4 address of ``host``."""
    labels = b"".join([bytes([len(label)]) + label for label in host.encode().strip(b".").split(b".")])
    return number + b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00\x00\x01\x00\x01"


def answer(data: bytes) -> str:
    """Return the first IPv4 address in an answer.

    Raises:
        OSError: If there is none.
    """
    try:
        at = 12
        for _ in range(_number(data, 4)):
            at = _after_name(data, at) + 4
        for _ in range(_number(data, 6)):
            at = _after_name(data, at)
            size = _number(data, at + 8)
            if _number(data, at) == 1 and size == 4:
                return ".".join([str(data[at + place]) for place in range(10, 14)])
            at += 10 + size
    except IndexError:
        pass
    raise OSError("there is no such name")


def _number(data: bytes, at: int) -> int:
    return data[at] << 8 | data[at + 1]


def _after_name(data: bytes, at: int) -> int:
    while data[at] and data[at] < 0xC0:
        at += data[at] + 1
    return at + (2 if data[at] else 1)

"""A client that can do everything wrong: bytes in, frames out."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from espfleet.domain.devices import Device

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
TEXT, BINARY, CONT, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
MASK = b"\x37\xfa\x21\x3d"
#: How long something may take that comes at once where nobody is kept waiting.
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Frame:
    opcode: int
    payload: bytes

    @property
    def close_code(self) -> int:
        assert self.opcode == CLOSE
        return int.from_bytes(self.payload[:2], "big")

    @property
    def close_reason(self) -> str:
        return self.payload[2:].decode()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = MASK,
    says: int | None = None,
) -> bytes:
    """Return a frame as a client sends it; ``says`` is the length it claims."""
    length = len(payload) if says is None else says
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = 0 if mask is None else 0x80
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + struct.pack("!H", length)
    else:
        head += bytes([bit | 127]) + struct.pack("!Q", length)
    if mask is None:
        return head + payload
    return head + mask + bytes(byte ^ mask[index & 3] for index, byte in enumerate(payload))


def request(path: str = "/lamp", **headers: str | None) -> bytes:
    """Return a request for an upgrade, with headers replaced, added, or left out where they are ``None``."""
    lines: dict[str, str | None] = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"GET {path} HTTP/1.1\r\n{text}\r\n".encode()


class Raw:
    """A TCP connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def upgrade(self, path: str = "/lamp") -> None:
        """Do the handshake."""
        await self.write(request(path))
        head = await self.head()
        assert head.startswith("HTTP/1.1 101 "), head
        assert f"Sec-WebSocket-Accept: {ACCEPT}" in head

    def deaf(self) -> None:
        """Read nothing from now on."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]

    def hear(self) -> None:
        """Read again."""
        self.writer.transport.resume_reading()  # type: ignore[attr-defined]

    async def head(self, timeout_s: float = PATIENCE_S) -> str:
        """Return status line and headers of the answer."""
        async with asyncio.timeout(timeout_s):
            return (await self.reader.readuntil(b"\r\n\r\n")).decode()

    async def answer(self, timeout_s: float = PATIENCE_S) -> str:
        """Return everything until the gateway closes."""
        async with asyncio.timeout(timeout_s):
            return (await self.reader.read()).decode()

    async def frame(self, timeout_s: float = PATIENCE_S) -> Frame:
        """Return the next frame."""
        async with asyncio.timeout(timeout_s):
            first, second = await self.reader.readexactly(2)
            assert not second & 0x80, "a server must not mask"
            assert first & 0x80, "the gateway sends whole messages only"
            length = second & 0x7F
            if length == 126:
                length = int.from_bytes(await self.reader.readexactly(2), "big")
            elif length == 127:
                length = int.from_bytes(await self.reader.readexactly(8), "big")
            return Frame(first & 15, await self.reader.readexactly(length))

    async def control(self) -> Frame:
        """Return the next frame that is no message."""
        while (got := await self.frame()).opcode in (TEXT, BINARY):
            pass
        return got

    async def close_code(self) -> int:
        """Return the code with which the gateway closes; after that it sends nothing."""
        got = await self.control()
        assert got.opcode == CLOSE, got
        async with asyncio.timeout(PATIENCE_S):
            assert await self.reader.read() == b""
        return got.close_code if got.payload else 1005


@asynccontextmanager
async def raw(port: int, takes_bytes: int | None = None, source: str = "") -> AsyncIterator[Raw]:
    """Connect; ``takes_bytes`` is what the kernel may hold for a client that does not read."""
    link = socket.socket()
    link.bind((source, 0))
    if takes_bytes is not None:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, takes_bytes)
    link.setblocking(False)
    await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", port))
    reader, writer = await asyncio.open_connection(sock=link)
    try:
        yield Raw(reader, writer)
    finally:
        writer.transport.abort()


async def mute(link: Raw, device: Device, token: str) -> None:
    """Say hello as this device; from then on nothing is answered, not even pings."""
    await link.upgrade()
    hello = {"type": "hello", "protocol": 1, "id": device.id, "token": token}
    await link.write(frame(TEXT, json.dumps(hello).encode()))
    assert json.loads((await link.frame()).payload)["type"] == "welcome"

"""Gateways of every temper: a server that does what a test says, byte by byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
import struct
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

WELCOME = {
    "type": "welcome",
    "name": "porch",
    "room": "hall",
    "group": "wan",
    "brightness": 100,
    "keepalive_ms": 200,
    "watchdog_ms": 3_000,
    "period_ms": 500,
    "time_ms": 1_763_670_000_123,
    "level": 0,
    "state": "ok",
    "seq": 1,
    "lease_ms": 1_500,
}


class Peer:
    """A connection, from the gateway's side."""

    def __init__(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.request: dict[bytes, bytes] = {}
        self.path = ""

    async def upgrade(self, head: bytes | None = None, after: bytes = b"") -> None:
        """Read the request and answer it, rightly or with ``head``; ``after`` goes out in the same packet."""
        lines = (await self.reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        self.path = lines[0].split()[1].decode()
        self.request = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines[1:])}
        accept = base64.b64encode(hashlib.sha1(self.request[b"sec-websocket-key"] + _GUID).digest())
        usual = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        usual += b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        await self.send((usual if head is None else head) + after)

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def say(self, message: dict[str, Any] | str, **fields: Any) -> None:
        """Send one text message."""
        text = message if isinstance(message, str) else json.dumps(message | fields)
        await self.send(frame(TEXT, text.encode()))

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and data of the next frame, which must be whole and masked as the RFC says."""
        first, second = await self.reader.readexactly(2)
        assert first & 0xF0 == 0x80, "a lamp sends whole messages"
        assert second & 0x80, "a client masks what it sends"
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            assert size >= 126
        key = await self.reader.readexactly(4)
        data = await self.reader.readexactly(size)
        mask = (key * (size // 4 + 1))[:size]
        return first & 0x0F, (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(size)

    async def hear(self, type_: str = "") -> dict[str, Any]:
        """Return the next text message, or the next of a type."""
        while True:
            opcode, data = await self.frame()
            if opcode == TEXT:
                message: dict[str, Any] = json.loads(data)
                if type_ in ("", message["type"]):
                    return message

    async def welcome(self, **fields: Any) -> dict[str, Any]:
        """Upgrade, read the hello and answer it; return the hello."""
        await self.upgrade()
        hello = await self.hear("hello")
        await self.say(WELCOME, **fields)
        return hello

    async def levels(self, level: int, every_ms: int = 200, **fields: Any) -> None:
        """Send a level again and again, until the connection ends."""
        seq = 1
        while True:
            seq += 1
            await self.say({"type": "level", "level": level, "state": "ok", "seq": seq, "lease_ms": 1_500}, **fields)
            await asyncio.sleep(every_ms / 1_000)

    async def gone(self) -> None:
        """Wait until the other side has closed."""
        with suppress(ConnectionError):
            while await self.reader.read(4_096):
                pass


def frame(opcode: int, data: bytes = b"", *, last: bool = True, bits: int = 0) -> bytes:
    """Return a frame as servers send it."""
    size = len(data)
    if size > 65_535:
        length = b"\x7f" + struct.pack("!Q", size)
    else:
        length = bytes([size]) if size < 126 else b"\x7e" + struct.pack("!H", size)
    return bytes([(0x80 if last else 0) | bits | opcode]) + length + data


Handler = Callable[[Peer], Awaitable[None]]


class Server:
    """Where lamps connect."""

    def __init__(self, port: int, secure: bool) -> None:
        self.port = port
        self.url = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}"
        self.connections = 0
        self.errors: list[Exception] = []


@asynccontextmanager
async def serving(handler: Handler, tls: ssl.SSLContext | None = None, port: int = 0) -> AsyncIterator[Server]:
    """Run a server that hands each connection to ``handler`` and cuts it when that returns.

    What goes wrong in a handler is raised at the end.
    """
    server = Server(0, tls is not None)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        server.connections += 1
        try:
            await handler(Peer(reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        except Exception as exc:  # noqa: BLE001
            server.errors.append(exc)
        except asyncio.CancelledError:
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    listener = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls, reuse_address=True)
    server.port = listener.sockets[0].getsockname()[1]
    server.url = f"{'wss' if tls else 'ws'}://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if server.errors:
        raise server.errors[0]

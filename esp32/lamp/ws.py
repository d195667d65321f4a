"""WebSocket: the client's side of RFC 6455, on a stream that is open already.

One task reads; any task may write, one at a time. A read that was cancelled may have lost bytes: whoever cancels one
closes the connection.
"""

import asyncio
import binascii
import hashlib
import os
import struct

from micropython import const

TEXT = const(1)
_BINARY = const(2)
_CLOSE = const(8)
_PING = const(9)
_PONG = const(10)

_HEAD_BYTES = const(2048)
_CHUNK = const(512)
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class FrameError(Exception):
    """Raised when the other side breaks the protocol; ``code`` is what it is closed with."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(why)
        self.code = code


class ClosedError(Exception):
    """Raised when the other side has closed: with ``code`` (1005 if it told none) and ``reason``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class HttpError(Exception):
    """Raised when the other side does not upgrade: its HTTP ``status``, and ``retry_after_ms`` or ``None``."""

    def __init__(self, status: int, retry_after_ms) -> None:
        super().__init__(status)
        self.status = status
        self.retry_after_ms = retry_after_ms


def frame(opcode: int, data: bytes, key: bytes) -> bytes:
    """Return one frame as a client sends it, masked with the four bytes of ``key``."""
    size = len(data)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    else:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    # As one number: a loop over bytes would take the light's time.
    number = int.from_bytes(data, "big") ^ int.from_bytes((key * (size // 4 + 1))[:size], "big")
    return head + key + number.to_bytes(size, "big")


class WebSocket:
    """Messages over a stream.

    Args:
        reader, writer: The stream, or its two halves.
        most: Bytes of the largest message taken.
    """

    def __init__(self, reader, writer, most: int = 4096) -> None:
        self._reader = reader
        self._writer = writer
        self._most = most
        self._ahead = b""
        self._lock = asyncio.Lock()

    async def upgrade(self, host: str, path: str) -> None:
        """Turn an HTTP connection into a WebSocket.

        Raises:
            HttpError: If the other side answers, but not with an upgrade.
            FrameError: If it does not speak WebSocket.
            EOFError: If the connection breaks.
        """
        key = binascii.b2a_base64(os.urandom(16)).strip()
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += f"Sec-WebSocket-Key: {key.decode()}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        await self._write(head.encode())
        while (end := self._ahead.find(b"\r\n\r\n")) < 0:
            if len(self._ahead) > _HEAD_BYTES:
                raise FrameError(1002, "it sends too much before the upgrade")
            await self._more(_CHUNK)
        lines, self._ahead = self._ahead[:end].split(b"\r\n"), self._ahead[end + 4 :]
        words = lines[0].split(None, 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise FrameError(1002, "it does not speak HTTP")
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b":")
            fields[name.strip().lower()] = value.strip()
        if words[1] != b"101":
            wait = fields.get(b"retry-after", b"")
            raise HttpError(int(words[1]), int(wait) * 1000 if wait.isdigit() and len(wait) < 7 else None)
        accept = binascii.b2a_base64(hashlib.sha1(key + _GUID).digest()).strip()
        if fields.get(b"sec-websocket-accept") != accept or fields.get(b"upgrade", b"").lower() != b"websocket":
            raise FrameError(1002, "it does not know WebSocket")

    async def send(self, message) -> None:
        """Send text (``str``) or bytes."""
        if isinstance(message, str):
            await self._send(TEXT, message.encode())
        else:
            await self._send(_BINARY, message)

    async def receive(self):
        """Return the next message, ``str`` or ``bytes``; pings are answered meanwhile.

        Raises:
            ClosedError: If the other side closes; it has got its answer.
            FrameError: If it breaks the protocol.
            EOFError, OSError: If the connection breaks.
        """
        kind, message = 0, b""
        while True:
            last, opcode, data = await self._frame(self._most - len(message))
            if opcode == _PING:
                await self._send(_PONG, data)
            elif opcode == _CLOSE:
                raise await self._closed(data)
            elif opcode != _PONG:
                if opcode > _BINARY or (opcode == 0) != (kind != 0):
                    raise FrameError(1002, f"it sends a frame of kind {opcode} where none is allowed")
                kind = kind or opcode
                message += data
                if last:
                    return _text(message) if kind == TEXT else message

    async def close(self, code: int, reason: str = "") -> None:
        """Say goodbye and wait until the other side does; only for the task that reads, and within a time limit.

        Raises:
            EOFError, OSError: If the connection breaks.
        """
        await self._send(_CLOSE, struct.pack("!H", code) + reason.encode()[:123])
        while (await self._frame(self._most))[1] != _CLOSE:
            pass

    async def _closed(self, data: bytes) -> ClosedError:
        code, reason = 1005, ""
        if data:
            code = struct.unpack("!H", data[:2])[0] if len(data) > 1 else 0
            if not 1000 <= code < 5000 or code in (1004, 1005, 1006, 1015):
                raise FrameError(1002, "it closes with a wrong code")
            reason = _text(data[2:])
        await self._send(_CLOSE, data[:2])
        return ClosedError(code, reason)

    async def _frame(self, most: int) -> tuple:
        """Return whether a frame is the last of its message, its opcode and its data."""
        first, size = await self._take(2)
        opcode = first & 0x0F
        if first & 0x70 or size & 0x80 or (opcode & 8 and (size > 125 or first < 0x80)):
            raise FrameError(1002, "it sends a frame that is not allowed")
        if size == 126:
            size = struct.unpack("!H", await self._take(2))[0]
        elif size == 127:
            high, size = struct.unpack("!II", await self._take(8))
            size = size if high == 0 else most + 1
        if size > most and not opcode & 8:
            raise FrameError(1009, f"it sends a message of more than {self._most} bytes")
        return first & 0x80, opcode, await self._take(size)

    async def _take(self, size: int) -> bytes:
        while len(self._ahead) < size:
            await self._more(max(size - len(self._ahead), _CHUNK))
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

    async def _more(self, size: int) -> None:
        data = await self._reader.read(size)
        if not data:
            raise EOFError
        self._ahead += data

    async def _send(self, opcode: int, data: bytes) -> None:
        await self._write(frame(opcode, data, os.urandom(4)))

    async def _write(self, data: bytes) -> None:
        # Two writers on one MicroPython stream would lose each other's bytes.
        async with self._lock:
            self._writer.write(data)
            await self._writer.drain()


def _text(data: bytes) -> str:
    try:
        return str(data, "utf-8")
    except ValueError:
        raise FrameError(1007, "it sends text that is not UTF-8") from None

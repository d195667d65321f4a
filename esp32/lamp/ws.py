"""WebSocket: the client's side of RFC 6455, once a connection is upgraded (``dial`` does that).

One task reads; any task may write, one at a time. A read that was cancelled may have lost bytes: whoever cancels one
closes the connection.
"""

import asyncio
import os
import struct

from micropython import const

_TEXT = const(1)
_BINARY = const(2)
CLOSE = const(8)
_PING = const(9)
_PONG = const(10)

_CHUNK = const(512)


class FrameError(Exception):
    """Raised when the other side breaks the protocol: with the code to close with, and a sentence."""


class ClosedError(Exception):
    """Raised when the other side has closed: with its code (1005 if it told none) and reason."""


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
        ahead: What has been read from it already.
        most: Bytes of the largest message taken.
    """

    def __init__(self, reader, writer, ahead: bytes = b"", most: int = 4096) -> None:
        self._reader = reader
        self._writer = writer
        self._most = most
        self._ahead = ahead
        self._lock = asyncio.Lock()

    async def send(self, message, opcode: int = 0) -> None:
        """Send text (``str``) or bytes, or a control frame of another ``opcode``."""
        if isinstance(message, str):
            message, opcode = message.encode(), _TEXT
        # Two writers on one MicroPython stream would lose each other's bytes.
        async with self._lock:
            self._writer.write(frame(opcode or _BINARY, message, os.urandom(4)))
            await self._writer.drain()

    async def receive(self):
        """Return the next message, ``str`` or ``bytes``; pings are answered meanwhile.

        Raises:
            ClosedError: If the other side closes; it has got its answer.
            FrameError: If it breaks the protocol.
            EOFError, OSError: If the connection breaks.
        """
        kind, message = 0, b""
        try:
            while True:
                last, opcode, data = await self._frame(self._most - len(message))
                if opcode == _PING:
                    await self.send(data, _PONG)
                elif opcode == CLOSE:
                    code = struct.unpack("!H", data[:2])[0] if len(data) > 1 else 0 if data else 1005
                    if data and (not 1000 <= code < 5000 or code in (1004, 1005, 1006, 1015)):
                        raise FrameError(1002, "it closes with a wrong code")
                    reason = str(data[2:], "utf-8")
                    await self.send(data[:2], CLOSE)
                    raise ClosedError(code, reason)
                elif opcode != _PONG:
                    if opcode > _BINARY or (opcode == 0) != (kind != 0):
                        raise FrameError(1002, f"it sends a frame of kind {opcode} where none is allowed")
                    kind = kind or opcode
                    message += data
                    if last:
                        return str(message, "utf-8") if kind == _TEXT else message
        except UnicodeError:
            raise FrameError(1007, "it sends text that is not UTF-8") from None

    async def close(self, code: int) -> None:
        """Say goodbye and wait until the other side does; only for the task that reads, and within a time limit.

        Raises:
            EOFError, OSError: If the connection breaks.
        """
        await self.send(struct.pack("!H", code), CLOSE)
        while (await self._frame(self._most))[1] != CLOSE:
            pass

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
            data = await self._reader.read(max(size - len(self._ahead), _CHUNK))
            if not data:
                raise EOFError
            self._ahead += data
        data, self._ahead = self._ahead[:size], self._ahead[size:]
        return data

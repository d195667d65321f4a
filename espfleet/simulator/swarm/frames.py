"""WebSocket frames from a lamp's side (RFC 6455, 5.2): those that gateways send, and those that lamps send often."""

from __future__ import annotations

from websockets.frames import Frame, Opcode

from espfleet.domain.messages import KEEPALIVE, TEXT_BYTES

#: What a lamp takes of one message.
MOST_BYTES = 16 * TEXT_BYTES
_FIN = 0x80


def masked(opcode: Opcode, data: bytes) -> bytes:
    """Return a whole message as one frame, masked anew."""
    return Frame(opcode, data).serialize(mask=True)


def keepalives(count: int) -> tuple[bytes, ...]:
    """Return frames with the usual keepalive and different masks, made once for all lamps."""
    return tuple(masked(Opcode.TEXT, KEEPALIVE.encode()) for _ in range(count))


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Return the frames in ``data``, each with its opcode and what it carries, and the rest that is no whole frame.

    Raises:
        ValueError: If no gateway sends such a thing: a message in parts, a mask, an extension, or too many bytes.
    """
    frames, at = [], 0
    while len(data) - at >= 2:
        first, length, start = data[at], data[at + 1], at + 2
        if first & 0xF0 != _FIN or length > 127:
            raise ValueError("a frame that no gateway sends")
        if length == 126:
            length, start = int.from_bytes(data[start : start + 2], "big"), start + 2
        elif length == 127:
            length, start = int.from_bytes(data[start : start + 8], "big"), start + 8
        if start > len(data):
            break
        if length > MOST_BYTES:
            raise ValueError(f"a message of {length} bytes")
        if start + length > len(data):
            break
        frames.append((first & 0x0F, data[start : start + length]))
        at = start + length
    return frames, data[at:]

"""WebSocket frames made by hand: those that are sent to many, and those that come all the time (RFC 6455, 5.2)."""

from __future__ import annotations

from espfleet.domain.closing import fit_reason
from espfleet.domain.messages import KEEPALIVE

try:
    from websockets.speedups import apply_mask
except ImportError:  # no wheel with compiled parts for this machine
    from websockets.utils import apply_mask

_TEXT, _BINARY, _CLOSE, _PING = 0x81, 0x82, 0x88, 0x89
_MASKED = 0x80
_HEADER_BYTES = 6

#: How writers of JSON put the usual keepalive: closely, and as MicroPython and Python do by default.
KEEPALIVE_TEXTS = (KEEPALIVE, KEEPALIVE.replace(":", ": "))
#: The usual keepalive by the first two bytes of its frame; each fits into one byte of length.
_KEEPALIVES = {bytes((_TEXT, _MASKED | len(text))): text.encode() for text in KEEPALIVE_TEXTS}

PING = bytes((_PING, 0))


def is_keepalive(data: bytes) -> bool:
    """Tell whether ``data`` is one masked frame with the usual keepalive and nothing else."""
    expected = _KEEPALIVES.get(data[:2])
    return (
        expected is not None
        and len(data) == _HEADER_BYTES + len(expected)
        and apply_mask(data[_HEADER_BYTES:], data[2:_HEADER_BYTES]) == expected
    )


def after_keepalive(data: bytes) -> bytes | None:
    """Return what follows the usual keepalive at the head of ``data``, or ``None`` if there is none at its head."""
    expected = _KEEPALIVES.get(data[:2])
    if expected is None:
        return None
    end = _HEADER_BYTES + len(expected)
    return data[end:] if is_keepalive(data[:end]) else None


def whole_text(data: bytes, most_bytes: int) -> tuple[bytes, bytes] | None:
    """Return what a masked text frame at the head of ``data`` says, a message of its own, and what follows it.

    Everything else, right or wrong, is ``None``: parts, other frames, more than ``most_bytes``, any error.
    """
    if len(data) < _HEADER_BYTES or data[0] != _TEXT:
        return None
    length, start = data[1] - _MASKED, 2
    if length == 126:
        length, start = int.from_bytes(data[2:4], "big"), 4
        if length < 126:
            return None
    elif length == 127:
        return None
    begin, end = start + 4, start + 4 + length
    if not 0 <= length <= most_bytes or len(data) < end:
        return None
    return apply_mask(data[begin:end], data[start:begin]), data[end:]


def text_frame(text: str) -> bytes:
    """Return a whole text message as one unmasked frame."""
    return _frame(_TEXT, text.encode())


def binary_frame(data: bytes) -> bytes:
    """Return a whole binary message as one unmasked frame."""
    return _frame(_BINARY, data)


def close_frame(code: int, reason: str = "") -> bytes:
    """Return a close frame; a reason that is too long is cut."""
    return _frame(_CLOSE, code.to_bytes(2, "big") + fit_reason(reason).encode())


def _frame(first: int, payload: bytes) -> bytes:
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return bytes((first, 126)) + length.to_bytes(2, "big") + payload
    return bytes((first, 127)) + length.to_bytes(8, "big") + payload

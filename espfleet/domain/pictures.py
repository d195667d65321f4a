"""Pictures of cameras: whole JPEGs, checked as far as that is cheap."""

from __future__ import annotations

from espfleet.domain.closing import CloseCode
from espfleet.domain.messages import BINARY_BYTES, ProtocolError

#: Every JPEG begins with a start of image and another marker.
MAGIC = b"\xff\xd8\xff"
#: The shortest that could hold one: start, end, and nothing to see.
_LEAST_BYTES = 4
_START_OF_SCAN = 0xDA
#: Markers that stand alone: no length follows.
_ALONE = {0x01, *range(0xD0, 0xDA)}
#: Starts of frames, baseline and progressive alike; the three among them are tables.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}

Size = tuple[int, int]


def check_picture(data: bytes) -> None:
    """Let a picture pass.

    Raises:
        ProtocolError: If it is too big, or no JPEG.
    """
    if len(data) > BINARY_BYTES:
        raise ProtocolError(f"a picture may have {BINARY_BYTES} bytes", close_code=CloseCode.TOO_MUCH)
    if len(data) < _LEAST_BYTES or not data.startswith(MAGIC):
        raise ProtocolError("a picture must be a whole JPEG: it begins with ff d8 ff")


def size_of(data: bytes) -> Size | None:
    """Return width and height of a JPEG in pixels, or ``None`` if it does not say."""
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker == 0xFF:  # a marker may be filled up
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            height, width = int.from_bytes(data[at + 5 : at + 7], "big"), int.from_bytes(data[at + 7 : at + 9], "big")
            return width, height
        elif marker == _START_OF_SCAN:
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None

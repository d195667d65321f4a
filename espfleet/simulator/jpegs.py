"""Small JPEGs made of plain 8 x 8 blocks: enough to see that a picture moves, without a library for pictures."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, hypot, sin, tau

#: One block: luma and the two chromas, each 0 to 255.
Block = tuple[int, int, int]

BLOCK = 8
#: Bits of the code for the size of a difference, and how many: the usual table for luma (ITU T.81, K.3).
_CODES = (
    (0b00, 2),
    (0b010, 3),
    (0b011, 3),
    (0b100, 3),
    (0b101, 3),
    (0b110, 3),
    (0b1110, 4),
    (0b11110, 5),
    (0b111110, 6),
)
_COUNTS = bytes((0, 1, 5, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))
#: The only other code: nothing more in this block; one bit.
_END_COUNTS = bytes((1, *(0,) * 15))


def encode(rows: Sequence[Sequence[Block]]) -> bytes:
    """Return a picture as a baseline JPEG; all rows must have the same number of blocks, at least one."""
    height, width = len(rows) * BLOCK, len(rows[0]) * BLOCK
    frame = bytes((8, *height.to_bytes(2, "big"), *width.to_bytes(2, "big"), 3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0))
    # Divided by 8, the constant part of a block is its mean.
    quantities = bytes((0, *(BLOCK,) * 64))
    tables = bytes((0, *_COUNTS, *range(len(_CODES)), 0x10, *_END_COUNTS, 0))
    scan = bytes((3, 1, 0, 2, 0, 3, 0, 0, 63, 0))
    return b"".join(
        (
            b"\xff\xd8",
            _segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0"),
            _segment(0xDB, quantities),
            _segment(0xC0, frame),
            _segment(0xC4, tables),
            _segment(0xDA, scan),
            _scan_data(rows),
            b"\xff\xd9",
        )
    )


def _segment(marker: int, data: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(data) + 2).to_bytes(2, "big") + data


def _scan_data(rows: Sequence[Sequence[Block]]) -> bytes:
    """Return the blocks, each part as the difference from the one before."""
    bits, count = 1, 0
    before = [128, 128, 128]
    for row in rows:
        for block in row:
            for part, value in enumerate(block):
                difference = value - before[part]
                before[part] = value
                size = abs(difference).bit_length()
                code, length = _CODES[size]
                # Negative ones are written as one less, without the sign.
                rest = difference if difference >= 0 else difference + (1 << size) - 1
                bits = (bits << length | code) << size | rest
                bits <<= 1
                count += length + size + 1
    spare = -count % 8
    bits = bits << spare | (1 << spare) - 1
    # The first bit only kept the zeros behind it.
    data = bits.to_bytes((count + spare) // 8 + 1, "big")[1:]
    return data.replace(b"\xff", b"\xff\0")


def scene(number: int, at_s: float, columns: int = 40, rows: int = 30) -> list[list[Block]]:
    """Return what a simulated camera sees: a sun that goes round over a plain, in colours of its own."""
    turn = tau * (at_s / 6 + number / 5)
    sun_x, sun_y = columns * (0.5 + 0.36 * cos(turn)), rows * (0.5 + 0.36 * sin(turn))
    tint = (number * 53) % 96
    picture = []
    for y in range(rows):
        line = []
        for x in range(columns):
            near = max(0.0, 1 - hypot(x - sun_x, y - sun_y) / 5)
            sky = 40 + 60 * y // rows
            line.append((min(255, int(sky + 170 * near)), int(140 - 90 * near), int(80 + tint + 60 * near)))
        picture.append(line)
    return picture

"""Images of MicroPython: for which chip one is, and where in the flash it begins."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from espfleet.domain.names import shown
from espfleet.errors import InvalidError

#: Chips by their number in the header of an image: esptool's name, and where the boot loader of the chip begins.
_CHIPS = {0: ("esp32", 0x1000), 2: ("esp32s2", 0x1000), 5: ("esp32c3", 0), 9: ("esp32s3", 0), 13: ("esp32c6", 0)}
CHIPS = tuple(name for name, _ in _CHIPS.values())
_MAGIC = 0xE9
_CHIP_AT = 12
#: The smallest MicroPython for these chips is more than 1 MB, the largest flash 32 MB.
_BYTES = (100_000, 32 << 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What can be written onto a chip.

    Attributes:
        path: The file.
        chip: Name of the chip it is for, as esptool spells it.
        offset: Where in the flash it begins.
    """

    path: Path
    chip: str
    offset: int


def read_image(path: str, chip: str = "") -> Image:
    """Return what is known of an image file.

    Args:
        path: Of a ``.bin`` as micropython.org has them.
        chip: The chip it shall be for, or ``""`` for any.

    Raises:
        InvalidError: If it cannot be read, is none, or is for another chip.
    """
    wanted = chip.lower().replace("-", "")
    if wanted and wanted not in CHIPS:
        raise InvalidError(f"{shown(chip)} is not a chip of lamps: use one of {', '.join(CHIPS)}", field="chip")
    try:
        with Path(path).open("rb") as stream:
            head = stream.read(_CHIP_AT + 2)
        size = Path(path).stat().st_size
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or exc
        raise InvalidError(f"the image {shown(path)} cannot be read: {reason}", field="image") from None
    number = int.from_bytes(head[_CHIP_AT:], "little")
    if len(head) < _CHIP_AT + 2 or head[0] != _MAGIC or not _BYTES[0] <= size <= _BYTES[1] or number not in _CHIPS:
        raise InvalidError(
            f"{shown(path)} is no MicroPython for a chip of lamps: take the .bin file for your board from "
            "micropython.org (not .app-bin)",
            field="image",
        )
    name, offset = _CHIPS[number]
    if wanted and name != wanted:
        raise InvalidError(f"{shown(path)} is for the {name}, not for the {wanted}", field="image")
    return Image(path=Path(path), chip=name, offset=offset)

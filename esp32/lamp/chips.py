"""Which pins of which chip may be used.

Left out are pins that hold the flash or extra memory, decide how the chip boots, or carry USB or the serial line:
touching one of them can stop the board until somebody comes with a cable.
"""

# Chip: pins that can be outputs, pins that can only be read, pins that measure voltages beside Wi-Fi, and the usual
# pins of the light (green, orange, red).
_CHIPS = {
    "ESP32": (
        (4, 13, 14, 18, 19, 21, 22, 23, 25, 26, 27, 32, 33),
        (34, 35, 36, 37, 38, 39),
        (32, 33, 34, 35, 36, 37, 38, 39),
        (18, 19, 4),
    ),
    "ESP32S2": (
        tuple(range(1, 19)) + (21,) + tuple(range(33, 43)),
        (46,),
        tuple(range(1, 11)),
        (4, 5, 6),
    ),
    "ESP32S3": (
        (1, 2) + tuple(range(4, 19)) + (21,) + tuple(range(38, 43)) + (47, 48),
        (),
        (1, 2) + tuple(range(4, 11)),
        (4, 5, 6),
    ),
    "ESP32C3": ((0, 1, 3, 4, 5, 6, 7, 10), (), (0, 1, 3, 4), (4, 5, 6)),
    "ESP32C6": ((0, 1, 2, 3, 6, 7, 10, 11, 14) + tuple(range(18, 24)), (), (0, 1, 2, 3, 6), (18, 19, 20)),
}


class Chip:
    """What is known of a chip.

    Attributes:
        name: Such as ``ESP32S3``.
        outputs: Pins that may be outputs; they can be read too.
        inputs: Pins that can only be read.
        analogue: Pins that measure voltages.
        light: The usual pins for green, orange and red.
    """

    def __init__(self, machine: str) -> None:
        self.name = name_of(machine)
        self.outputs, self.inputs, self.analogue, self.light = _CHIPS[self.name]


def name_of(machine: str) -> str:
    """Return the chip that MicroPython's name of the machine ends with, such as ``Generic S3 board with ESP32S3``."""
    chip = machine.split(" with ")[-1].replace("-", "").upper()
    for name in ("ESP32S2", "ESP32S3", "ESP32C3", "ESP32C6"):
        if chip.startswith(name):
            return name
    return "ESP32"

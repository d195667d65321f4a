"""Which pins of which chip may be used. Borrowed by the board when it starts.

Left out are pins that hold the flash or extra memory, decide how the chip boots, or carry USB or the serial line:
touching one of them can stop the board until somebody comes with a cable.
"""

# Chip: pins that can be outputs, pins that can only be read, pins that measure voltages beside Wi-Fi, and the usual
# pins of the light (green, orange, red).
_CHIPS = {
    "ESP32": ("4 13 14 18 19 21-23 25-27 32 33", "34-39", "32-39", "18 19 4"),
    "ESP32S2": ("1-18 21 33-42", "46", "1-10", "4 5 6"),
    "ESP32S3": ("1 2 4-18 21 38-42 47 48", "", "1 2 4-10", "4 5 6"),
    "ESP32C3": ("0 1 3-7 10", "", "0 1 3 4", "4 5 6"),
    "ESP32C6": ("0-3 6 7 10 11 14 18-23", "", "0-3 6", "18 19 20"),
}


def find(machine: str) -> tuple:
    """Return the chip of MicroPython's name of the machine, such as ``Generic S3 board with ESP32S3``.

    Returns:
        Its name, pins that may be outputs, pins that can only be read, pins that measure voltages, and the usual pins
        for green, orange and red.
    """
    name = machine.split(" with ")[-1].replace("-", "").upper()[:7]
    if name not in _CHIPS:
        name = "ESP32"
    return (name,) + tuple([_pins(text) for text in _CHIPS[name]])


def _pins(text: str) -> bytes:
    pins = []
    for word in text.split():
        first, _, last = word.partition("-")
        pins.extend(range(int(first), int(last or first) + 1))
    return bytes(pins)

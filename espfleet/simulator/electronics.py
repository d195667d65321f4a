"""What hangs on the pins of a simulated board: switches, a DHT22, voltages, and the warmth of its chip."""

from __future__ import annotations

import math
from collections.abc import Mapping

from espfleet.domain.names import check_whole
from espfleet.errors import InvalidError

#: As on an ESP32: these pins do not exist, those can only be read.
MISSING = frozenset({20, 24, 28, 29, 30, 31})
READ_ONLY = frozenset(range(34, 40))
PINS = tuple(pin for pin in range(40) if pin not in MISSING)
ANALOGUE = frozenset(range(32, 40))
ADC_MAX = 4_095


class Electronics:
    """The hardware of one board. It has no clock: each method is told the time, in ms.

    Args:
        place: Number that sets its weather apart from that of other boards.
        dht22: Pins with a DHT22.

    Attributes:
        resets: How often it was reset.
        switched: How often a pin got another value, resets not counted.
    """

    def __init__(self, place: int = 0, dht22: tuple[int, ...] = (4,)) -> None:
        self.resets = 0
        self.switched = 0
        self._place = place % 997
        self._dht22 = dht22
        self._pins = dict.fromkeys(PINS, 0)
        self._voltages: dict[int, int] = {}
        self._temp_c: float | None = None

    @property
    def pins(self) -> Mapping[int, int]:
        """Value of each pin."""
        return self._pins

    def reset(self) -> None:
        """Start anew, as after a loss of power: all pins are low."""
        self.resets += 1
        self._pins = dict.fromkeys(PINS, 0)

    def switch(self, pins: list[int], value: int) -> None:
        """Set pins to 0 or 1, or turn them round with 2; all or none.

        Raises:
            InvalidError: If one cannot be switched.
        """
        check_whole(value, "value", 0, 2)
        for pin in pins:
            if pin not in self._pins or pin in READ_ONLY:
                raise InvalidError(f"pin {pin} cannot be switched", field="pin")
        for pin in pins:
            new = 1 - self._pins[pin] if value == 2 else value
            self.switched += new != self._pins[pin]
            self._pins[pin] = new

    def warm(self, temp_c: float | None) -> None:
        """Let the DHT22 measure so many °C; ``None`` for its own weather again."""
        self._temp_c = temp_c

    def apply(self, pin: int, raw: int) -> None:
        """Let the ADC at a pin measure 0 to 4095."""
        self._voltages[pin] = check_whole(raw, "raw", 0, ADC_MAX)

    def chip_c(self, now_ms: float) -> float:
        """Return how warm the chip is, °C."""
        return 44.0 + 4.0 * math.sin(now_ms / 900_000 + self._place)

    def climate(self, pin: int, now_ms: float) -> tuple[float, float]:
        """Return °C and percent of humidity of the DHT22 at a pin.

        Raises:
            InvalidError: If there is none.
        """
        if pin not in self._dht22:
            raise InvalidError(f"no DHT22 answers at pin {pin}", field="read_pin")
        temp_c = 21.0 + 3.0 * math.sin(now_ms / 600_000 + self._place) if self._temp_c is None else self._temp_c
        return round(temp_c, 1), round(50.0 + 10.0 * math.cos(now_ms / 700_000 + self._place), 1)

    def voltage(self, pin: int, now_ms: float) -> int:
        """Return what the ADC at a pin measures, 0 to 4095.

        Raises:
            InvalidError: If the pin has none.
        """
        if pin not in ANALOGUE:
            raise InvalidError(f"pin {pin} measures no voltages", field="read_pin")
        return self._voltages.get(pin, round(2_000 + 500 * math.sin(now_ms / 60_000 + pin + self._place)))

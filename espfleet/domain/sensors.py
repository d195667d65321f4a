"""Sensors: what is to be asked of a board, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from espfleet.domain.names import check_device_id, check_name, check_number, check_whole, shown
from espfleet.errors import InvalidError

INTERVAL_S = (1, 86_400)
USUAL_INTERVAL_S = 30.0


class SensorKind(StrEnum):
    """What hangs on the pin."""

    DHT22 = "dht22"
    ADC = "adc"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """A sensor at a pin of a device.

    Attributes:
        device_id: Of which device.
        name: Unique among the device's sensors; its readings are called ``NAME.temp`` (°C) and ``NAME.humidity`` (%),
            or ``NAME.raw`` (0 to 4095).
        kind: What it is.
        pin: Where.
        interval_s: Time between two readings.
        power_pin: Pin that is high meanwhile, of an ADC.
    """

    device_id: str
    name: str
    kind: SensorKind
    pin: int
    interval_s: float = USUAL_INTERVAL_S
    power_pin: int | None = None

    @property
    def key(self) -> str:
        """What it is stored under."""
        return f"{self.device_id}/{self.name}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Sensor:
        """Return the sensor that ``to_dict`` described."""
        return cls(**{**values, "kind": SensorKind(values["kind"])})


def new_sensor(
    *,
    device_id: str,
    name: str,
    kind: str,
    pin: object,
    interval_s: object = USUAL_INTERVAL_S,
    power_pin: object = None,
) -> Sensor:
    """Return a checked sensor.

    Raises:
        InvalidError: If a value cannot be used.
    """
    if kind not in tuple(SensorKind):
        raise InvalidError(f"{shown(kind)} is no kind of sensor: use one of {', '.join(SensorKind)}", field="kind")
    return Sensor(
        device_id=check_device_id(device_id),
        name=check_name(name, "sensor"),
        kind=SensorKind(kind),
        pin=check_whole(pin, "pin", 0, 48),
        interval_s=check_number(interval_s, "interval", *INTERVAL_S, "s"),
        power_pin=None if power_pin in (None, "") else check_whole(power_pin, "power_pin", 0, 48),
    )

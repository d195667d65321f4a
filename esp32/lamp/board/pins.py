"""Pins, voltages and sensors: hardware that is used when somebody asks. Borrowed by the commands."""

from machine import ADC, Pin


def read(pin: int) -> int:
    """Return 0 or 1; the pin stays what it is."""
    return Pin(pin).value()


def write(pin: int, value: int) -> None:
    """Make a pin an output of 0 or 1."""
    Pin(pin, Pin.OUT, value=value)


def measure(pin: int) -> tuple:
    """Return what a pin measures, from 0 to 4095 and in mV."""
    adc = ADC(Pin(pin), atten=ADC.ATTN_11DB)
    return adc.read_u16() >> 4, adc.read_uv() // 1000


def climate(kind: str, pin: int) -> dict:
    """Return what a sensor, ``dht11`` or ``dht22``, measures.

    Raises:
        OSError: If it does not answer.
    """
    import dht

    sensor = (dht.DHT22 if kind == "dht22" else dht.DHT11)(Pin(pin))
    sensor.measure()
    return {"temperature_c": sensor.temperature(), "humidity_percent": sensor.humidity()}

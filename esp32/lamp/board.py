"""The hardware: pins, light, Wi-Fi, memory that lasts, and restarts. No other module touches any of it."""

import binascii
import sys

import machine
import network
from machine import ADC, PWM, RTC, WDT, Pin

import esp32
from lamp import colours
from lamp.chips import Chip

CHIP = Chip(sys.implementation._machine)

_PWM_HZ = 1000
_FULL = 65535
_SECRET_BYTES = 1536


def device_id() -> str:
    """Return the hardware id, 12 hex digits."""
    return binascii.hexlify(machine.unique_id()).decode()


# Starting and stopping


def cause() -> str:
    """Return why the chip says that it started."""
    causes = {
        machine.PWRON_RESET: "power-on",
        machine.HARD_RESET: "reset",
        machine.WDT_RESET: "watchdog",
        machine.DEEPSLEEP_RESET: "deep sleep",
        machine.SOFT_RESET: "soft reset",
    }
    return causes.get(machine.reset_cause(), "unknown")


def memory(data=None) -> bytes:
    """Return what was kept since the board has power, or keep ``data``."""
    if data is None:
        return RTC().memory()
    RTC().memory(data)
    return data


def reset() -> None:
    """Start again."""
    machine.reset()


def watch(silent_ms: int):
    """Restart the board should the function that is returned not be called for ``silent_ms``."""
    return WDT(timeout=silent_ms).feed


# Secrets


class Vault:
    """Two places for secrets in the chip's own store."""

    def __init__(self) -> None:
        self._store = esp32.NVS("espfleet")

    def read(self, place: int) -> bytes:
        """Return what was written to place 0 or 1, or nothing."""
        data = bytearray(_SECRET_BYTES)
        try:
            return bytes(data[: self._store.get_blob(f"secrets{place}", data)])
        except OSError:
            return b"{}"

    def write(self, place: int, data: bytes) -> None:
        """Keep ``data`` in place 0 or 1."""
        if len(data) > _SECRET_BYTES:
            raise OSError("too many secrets")
        self._store.set_blob(f"secrets{place}", data)
        self._store.commit()


# Wi-Fi


def station(name: str):
    """Return the Wi-Fi station, which will call itself ``name``."""
    network.hostname(name)
    return network.WLAN(network.STA_IF)


# Pins


def read_pin(pin: int) -> int:
    """Return 0 or 1; the pin stays what it is."""
    return Pin(pin).value()


def write_pin(pin: int, value: int) -> None:
    """Make a pin an output of 0 or 1."""
    Pin(pin, Pin.OUT, value=value)


def read_analogue(pin: int) -> tuple:
    """Return what a pin measures, from 0 to 4095 and in mV."""
    adc = ADC(Pin(pin), atten=ADC.ATTN_11DB)
    return adc.read_u16() >> 4, adc.read_uv() // 1000


def read_climate(kind: str, pin: int) -> tuple:
    """Return temperature in °C and humidity in percent of a sensor, ``dht11`` or ``dht22``.

    Raises:
        OSError: If it does not answer.
    """
    import dht

    sensor = (dht.DHT22 if kind == "dht22" else dht.DHT11)(Pin(pin))
    sensor.measure()
    return sensor.temperature(), sensor.humidity()


def temperature_c():
    """Return how warm the chip is, in °C, or ``None`` where it does not know."""
    if hasattr(esp32, "mcu_temperature"):
        return esp32.mcu_temperature()
    if hasattr(esp32, "raw_temperature"):
        return round((esp32.raw_temperature() - 32) / 1.8, 1)
    return None


# Light


class Light:
    """LEDs behind pins.

    Args:
        kind: ``leds`` (green, orange, red), ``rgb`` (red, green, blue), ``led`` (one) or ``strip`` (WS2812).
        pins: As many as that needs.
        inverted: Whether a pin that is low lights its LED.
        pixels: Of the strip.
    """

    def __init__(self, kind: str, pins: tuple, inverted: bool, pixels: int) -> None:
        self._kind = kind
        self._pins = pins
        self._dark = _FULL if inverted else 0
        self._shown = None
        if kind == "strip":
            from neopixel import NeoPixel

            self._strip = NeoPixel(Pin(pins[0], Pin.OUT), pixels)
        else:
            self._leds = [PWM(Pin(pin), freq=_PWM_HZ, duty_u16=self._dark) for pin in pins]

    def show(self, shares: tuple) -> None:
        """Feed green, orange and red with a share of full current each, 0 to 1."""
        kind = self._kind
        if kind == "led":
            shares = (colours.as_one(shares),)
        elif kind != "leds":
            shares = colours.as_rgb(shares)
        full = 255 if kind == "strip" else _FULL
        shown = [int(share * full + 0.5) for share in shares]
        if shown == self._shown:
            return
        self._shown = shown
        if kind == "strip":
            self._strip.fill(shown)
            self._strip.write()
        else:
            for led, duty in zip(self._leds, shown):
                led.duty_u16(self._dark ^ duty)

    def off(self) -> None:
        """Go dark and give the pins back."""
        self.show((0, 0, 0))
        if self._kind != "strip":
            for led, pin in zip(self._leds, self._pins):
                led.deinit()
                write_pin(pin, 1 if self._dark else 0)

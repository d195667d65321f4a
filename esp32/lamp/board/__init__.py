"""The hardware: Wi-Fi, memory that lasts, restarts, and beside this file the light, pins and secrets.

No module outside of this folder touches any hardware.
"""

import binascii
import sys

import machine
import network

import esp32
from lamp import borrow

# Which chip this is, and which of its pins may be used for what.
CHIP, OUTPUTS, INPUTS, ANALOGUE, LIGHT = borrow("board.chips").find(sys.implementation._machine)


def device_id() -> str:
    """Return the hardware id, 12 hex digits."""
    return binascii.hexlify(machine.unique_id()).decode()


def cause() -> str:
    """Return why the chip says that it started."""
    for name, why in (("PWRON", "power-on"), ("HARD", "reset"), ("WDT", "watchdog"), ("SOFT", "soft reset")):
        if machine.reset_cause() == getattr(machine, name + "_RESET"):
            return why
    return "unknown"


def memory(*data: bytes) -> bytes:
    """Return what was kept since the board has power, or keep ``data``."""
    return machine.RTC().memory(*data)


def reset() -> None:
    """Start again."""
    machine.reset()


def watch(silent_ms: int):
    """Restart the board should the function that is returned not be called for ``silent_ms``."""
    return machine.WDT(timeout=silent_ms).feed


def station(name: str):
    """Return the Wi-Fi station, which will call itself ``name``."""
    network.hostname(name)
    return network.WLAN(network.STA_IF)


def temperature_c():
    """Return how warm the chip is, in °C, or ``None`` where it does not know."""
    if hasattr(esp32, "mcu_temperature"):
        return esp32.mcu_temperature()
    if hasattr(esp32, "raw_temperature"):
        return round((esp32.raw_temperature() - 32) / 1.8, 1)
    return None

"""Numbers that the lamp reports about itself, and those of its sensor."""

import gc

from lamp import board, borrow


def own(clock, station) -> dict:
    """Return by name how the lamp is; what is not known is left out.

    Args:
        clock: Now, in ms since the start.
        station: The board's Wi-Fi station.
    """
    readings = {"heap_bytes": gc.mem_free(), "uptime_ms": clock()}
    if station.isconnected():
        readings["rssi_dbm"] = station.status("rssi")
    return readings


def measured(sensor) -> dict:
    """Return by name what the lamp measures; what is not known is left out.

    Args:
        sensor: The setting ``sensor``: an object with ``kind`` and ``pin``, or ``None``.
    """
    readings = {}
    temperature_c = board.temperature_c()
    if temperature_c is not None:
        readings["chip_temperature_c" if sensor else "temperature_c"] = temperature_c
    if sensor:
        try:
            readings.update(borrow("board.pins").climate(sensor["kind"], sensor["pin"]))
        except OSError:
            # It has its moods; the next reading comes soon.
            pass
    return readings

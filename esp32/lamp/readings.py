"""Numbers that the lamp reports about itself, and those of its sensor."""

import gc

from lamp import board


def collect(clock, wifi, sensor) -> dict:
    """Return readings by name; what is not known is left out.

    Args:
        clock: Now, in ms since the start.
        wifi: A ``wifi.Wifi``.
        sensor: The setting ``sensor``: an object with ``kind`` and ``pin``, or ``None``.
    """
    readings = {"heap_bytes": gc.mem_free(), "uptime_ms": clock()}
    rssi_dbm, temperature_c = wifi.rssi_dbm(), board.temperature_c()
    if rssi_dbm is not None:
        readings["rssi_dbm"] = rssi_dbm
    if temperature_c is not None:
        readings["chip_temperature_c" if sensor else "temperature_c"] = temperature_c
    if sensor:
        try:
            readings.update(climate(sensor["kind"], sensor["pin"]))
        except OSError:
            # It has its moods; the next reading comes soon.
            pass
    return readings


def climate(kind: str, pin: int) -> dict:
    """Return what a sensor measures.

    Raises:
        OSError: If it does not answer.
    """
    temperature_c, humidity_percent = board.read_climate(kind, pin)
    return {"temperature_c": temperature_c, "humidity_percent": humidity_percent}

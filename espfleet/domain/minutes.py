"""Minutes: what a reading was, at most once a minute, packed by the hour; ``put_readings.lua`` packs them.

Each takes three bytes, the ms within its hour times four plus how its value follows; and that value, exact: hundredths
in two bytes, a whole number in four, a single float in four, or a double in eight. All are big-endian.
"""

from __future__ import annotations

from struct import Struct

HOUR_MS = 3_600_000

_PLACE_BYTES = 3
_HUNDREDTHS, _WHOLE, _SINGLE, _DOUBLE = Struct(">h"), Struct(">i"), Struct(">f"), Struct(">d")
_KINDS = (_HUNDREDTHS, _WHOLE, _SINGLE, _DOUBLE)


def unpack(hour: int, packed: bytes) -> list[tuple[int, float]]:
    """Return the time in ms since the epoch and the value of each minute.

    Args:
        hour: Which one, counted from the epoch.
        packed: Its minutes.

    Raises:
        ValueError: If they are cut or are no minutes.
    """
    found = []
    start = 0
    while start < len(packed):
        place, kind = divmod(int.from_bytes(packed[start : start + _PLACE_BYTES], "big"), 4)
        form = _KINDS[kind]
        start += _PLACE_BYTES
        if start + form.size > len(packed) or place >= HOUR_MS:
            raise ValueError(f"{len(packed)} bytes of hour {hour} are cut or damaged at byte {start - _PLACE_BYTES}")
        found.append((hour * HOUR_MS + place, _value(form, packed, start)))
        start += form.size
    return found


def _value(form: Struct, packed: bytes, start: int) -> float:
    value = float(form.unpack_from(packed, start)[0])
    if form is _HUNDREDTHS:
        return value / 100
    # A device told the shortest decimal that stands for its single float.
    return float(f"{value:.7g}") if form is _SINGLE else value

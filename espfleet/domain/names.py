"""What names, hardware ids and lists of names may look like."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable

from espfleet.errors import InvalidError

NAME_CHARS = 64
#: Label of everything that exists only as a program on this machine.
SIMULATED = "simulated"
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_DEVICE_ID = re.compile(r"[0-9a-f]{12}")
_SHOWN_CHARS = 40
_PRETTY_ID = str.maketrans("", "", ":-.")


def shown(value: object) -> str:
    """Return ``value`` quoted for an error message: control characters escaped, at most 40 characters."""
    text = repr(str(value))
    return text if len(text) <= _SHOWN_CHARS else f"{text[: _SHOWN_CHARS - 2]}…'"


def check_name(name: object, kind: str) -> str:
    """Return ``name`` if a device, room, group or target may be called so.

    Raises:
        InvalidError: If it is not 1 to 64 letters, digits, ``.``, ``_`` or ``-``, beginning and ending with a
            letter or digit.
    """
    if isinstance(name, str) and len(name) <= NAME_CHARS and _NAME.fullmatch(name):
        return name
    raise InvalidError(
        f"{shown(name)} cannot be the name of a {kind}: use 1 to {NAME_CHARS} letters, digits, '.', '_' or '-', "
        "with a letter or digit at both ends",
        field="name",
    )


def check_labels(labels: Iterable[object]) -> tuple[str, ...]:
    """Return labels without doubles.

    Raises:
        InvalidError: If one may not be a label; the rules are those of names.
    """
    return tuple(dict.fromkeys(check_name(label, "label") for label in labels))


def check_device_id(device_id: object) -> str:
    """Return a hardware id as 12 lower-case hex digits; ``3C:71:BF:F9:37:20`` is understood.

    Raises:
        InvalidError: If it is anything else.
    """
    text = device_id.strip().translate(_PRETTY_ID).lower() if isinstance(device_id, str) else ""
    if _DEVICE_ID.fullmatch(text):
        return text
    raise InvalidError(f"{shown(device_id)} is not a hardware id: it has 12 hex digits", field="id")


def nearest(name: str, names: Iterable[str]) -> list[str]:
    """Return up to three of ``names`` that look like ``name``, the likeliest first."""
    by_fold = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name[:NAME_CHARS].casefold(), list(by_fold), n=3, cutoff=0.6)
    return [by_fold[fold] for fold in close]


def free_name(name: str, taken: Collection[str]) -> str:
    """Return ``name-2``, ``name-3`` …: the first that is not taken and not too long."""
    number = 2
    while True:
        ending = f"-{number}"
        candidate = name[: NAME_CHARS - len(ending)] + ending
        if candidate not in taken:
            return candidate
        number += 1


def check_number(value: object, field: str, low: float, high: float, unit: str = "") -> float:
    """Return ``value`` as a float from ``low`` to ``high``.

    Raises:
        InvalidError: If it is no finite number in that range; the text names ``field`` and ``unit``.
    """
    try:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError
        number = float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if low <= number <= high:
        return number
    span = f"{low:.12g} to {high:.12g}{' ' + unit if unit else ''}"
    raise InvalidError(f"{field} must be a number from {span}, not {shown(value)}", field=field)


def check_whole(value: object, field: str, low: int, high: int, unit: str = "") -> int:
    """Return ``value`` as a whole number from ``low`` to ``high``.

    Raises:
        InvalidError: If it is anything else.
    """
    number = check_number(value, field, low, high, unit)
    if number != int(number):
        raise InvalidError(f"{field} must be a whole number, not {shown(value)}", field=field)
    return int(number)

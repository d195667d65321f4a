"""What names, hardware ids and lists of names may look like."""

from __future__ import annotations

import bisect
import difflib
import heapq
import math
import re
from collections.abc import Collection, Iterable

from espfleet.errors import InvalidError

NAME_CHARS = 64
#: Label of everything that exists only as a program on this machine.
SIMULATED = "simulated"
# Not IGNORECASE: with it the Kelvin sign is a k, and two groups look the same.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_DEVICE_ID = re.compile(r"[0-9a-f]{12}")
_SHOWN_CHARS = 40
#: Names that a wrong one is held against, and those of them that are compared letter by letter.
_LOOKED_AT = 400
_COMPARED = 16
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
    """Return up to three of ``names`` that look like ``name``, the likeliest first.

    Of very many, those around it in the alphabet are looked at: whoever asks for what is not there, again and again,
    must not keep a gateway from its lamps.
    """
    wanted = name[:NAME_CHARS].casefold()
    by_fold = {known.casefold(): known for known in names}
    folds = list(by_fold)
    if len(folds) > _LOOKED_AT:
        folds.sort()
        place = bisect.bisect(folds, wanted)
        folds = folds[max(0, place - _LOOKED_AT // 2) :][:_LOOKED_AT]
    matcher = difflib.SequenceMatcher(b=wanted)

    def likeness(fold: str) -> float:
        matcher.set_seq1(fold)
        return matcher.quick_ratio()

    likely = heapq.nlargest(_COMPARED, folds, likeness)
    return [by_fold[fold] for fold in difflib.get_close_matches(wanted, likely, n=3, cutoff=0.6)]


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

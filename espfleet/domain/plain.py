"""Values that are passed on as they came: only what every reader of JSON can read.

One program's JSON is not another's. Python takes ``1e999`` and a half of a surrogate pair, browsers do not; and what is
nested as deep as one reader just bears breaks the next, which has more on its stack.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

#: So deep may values lie in one another.
DEPTH = 16


def flaw_of(value: object, depth: int = DEPTH) -> str:
    """Return what keeps others from reading a value, as the end of a sentence that begins with its name; or ``""``.

    Args:
        value: Anything that JSON can say.
        depth: How many more levels it may have.
    """
    if isinstance(value, str):
        return "" if value.isascii() or _is_whole(value) else "must be a text of whole characters"
    if isinstance(value, int | float):
        return "" if _is_finite(value) else "must be a number of a usual size"
    if not isinstance(value, Mapping | list | tuple):
        return ""
    if not depth:
        return f"may have {DEPTH} levels"
    inside = [*value, *value.values()] if isinstance(value, Mapping) else value
    return next((flaw for one in inside if (flaw := flaw_of(one, depth - 1))), "")


def _is_whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:
        return False

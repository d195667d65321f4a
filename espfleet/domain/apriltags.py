"""AprilTags: what a camera recognised, as a flat message: the form that S4's cameras tell and its viewers hear."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from espfleet.domain.messages import WORD_CHARS, ProtocolError
from espfleet.domain.names import shown

#: Name of the event, and of the message that carries it.
EVENT = "apriltag_data"
#: What the hub adds: seconds since the epoch.
SERVER_TIMESTAMP = "server_timestamp"
#: S4's cameras send twelve.
MOST_FIELDS = 32


def check_tag(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an ``apriltag_data`` message; S4's older form, nested in ``data``, is understood.

    Raises:
        ProtocolError: If a field is no plain value, or there are none or too many.
    """
    inner = values.get("data")
    fields = inner if isinstance(inner, Mapping) else values
    fields = {name: value for name, value in fields.items() if name not in ("event", SERVER_TIMESTAMP)}
    if not 0 < len(fields) <= MOST_FIELDS:
        raise ProtocolError(f"{EVENT} must have 1 to {MOST_FIELDS} fields, not {len(fields)}")
    for name, value in fields.items():
        if not (name.isprintable() and len(name) <= WORD_CHARS and _is_plain(value)):
            raise ProtocolError(f"{shown(name)} must be a number or a short text", field="data")
    return fields


def tag_message(fields: Mapping[str, Any], at_ms: int) -> str:
    """Return what viewers are told: the same fields, and when the hub got them, ms since the epoch."""
    return json.dumps({"event": EVENT, **fields, SERVER_TIMESTAMP: at_ms / 1_000}, separators=(",", ":"))


def _is_plain(value: object) -> bool:
    if isinstance(value, str):
        return value.isprintable() and len(value) <= WORD_CHARS
    if isinstance(value, float):
        return math.isfinite(value)
    # Longer whole numbers are no measurement, and most readers of JSON cannot keep them.
    return value is None or (isinstance(value, int) and abs(value) < 2**53)

"""Protocol 1 from the lamp's side: what it says, as JSON text, and what it understands.

The rules are those of ``espfleet/simulator/speech.py``; the same golden messages hold both. The lamp trusts nothing it
hears: what it cannot use it ignores, and every number is kept in a range that it can live with.
"""

import json

PROTOCOL = 1
KEEPALIVE = '{"type":"keepalive"}'

_LARGEST = 9007199254740991
_STATES = ("ok", "unknown", "paused", "maintenance")


def write(kind: str, **fields) -> str:
    """Return a message; fields that are ``None`` are left out."""
    values = {"type": kind}
    for name, value in fields.items():
        if value is not None:
            values[name] = value
    return json.dumps(values, separators=(",", ":"))


def understand(text) -> dict:
    """Return what the gateway told, every field checked, or nothing if the lamp can do nothing with it.

    ``type`` is ``level``, ``welcome`` or ``command``. A level has ``level`` (which a welcome may lack), ``state``,
    ``seq`` and ``lease_ms``.
    """
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except ValueError:
        return {}
    if not isinstance(values, dict):
        return {}
    kind = values.get("type")
    if kind == "level":
        told = _level(values)
        return told if "level" in told else {}
    if kind == "welcome":
        told = _level(values)
        told["name"] = _word(values.get("name")) or ""
        told["room"] = _word(values.get("room"))
        told["group"] = _word(values.get("group"))
        told["brightness"] = _whole(values.get("brightness"), 0, 100, 100)
        told["keepalive_ms"] = _whole(values.get("keepalive_ms"), 50, 60_000, 1_000)
        told["period_ms"] = _whole(values.get("period_ms"), 10, 60_000, 500)
        told["time_ms"] = _whole(values.get("time_ms"), 0, _LARGEST, 0)
        return told
    if kind == "command":
        arguments = values.get("arguments", {})
        texts = isinstance(values.get("id"), str) and isinstance(values.get("action"), str)
        if texts and isinstance(arguments, dict):
            return {"type": kind, "id": values["id"], "action": values["action"], "arguments": arguments}
    return {}


def _level(values: dict) -> dict:
    told = {
        "type": values["type"],
        "seq": _whole(values.get("seq"), 0, _LARGEST, 0),
        "lease_ms": _whole(values.get("lease_ms"), 20, 600_000, 1_500),
    }
    level, state = values.get("level"), values.get("state", "ok")
    if type(level) in (int, float) and 0 <= level <= 100:
        # A state of a later protocol: whatever it means, it is not a reason to be green.
        told["state"] = state if state in _STATES else "unknown"
        told["level"] = int(level) if state in _STATES else 50
    return told


def _whole(value, low: int, high: int, default: int) -> int:
    return min(max(value, low), high) if type(value) is int else default


def _word(value):
    good = isinstance(value, str) and len(value) <= 64 and all(ord(char) > 31 for char in value)
    return value if good else None

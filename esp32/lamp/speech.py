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
    values = {name: value for name, value in fields.items() if value is not None}
    values["type"] = kind
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
    get = values.get
    kind = get("type")
    told = {"type": kind}
    if kind == "command":
        told["id"], told["action"], told["arguments"] = get("id"), get("action"), get("arguments", {})
        texts = isinstance(told["id"], str) and isinstance(told["action"], str)
        return told if texts and isinstance(told["arguments"], dict) else {}
    if kind not in ("level", "welcome"):
        return {}
    level, state = get("level"), get("state", "ok")
    if type(level) in (int, float) and 0 <= level <= 100:
        # A state of a later protocol: whatever it means, it is not a reason to be green.
        known = state in _STATES
        told["state"], told["level"] = (state, int(level)) if known else ("unknown", 50)
        told["seq"] = _whole(get("seq"), 0, _LARGEST, 0)
        told["lease_ms"] = _whole(get("lease_ms"), 20, 600_000, 1_500)
    elif kind == "level":
        return {}
    if kind == "welcome":
        for name in ("name", "room", "group"):
            word = get(name)
            good = isinstance(word, str) and len(word) <= 64 and all(ord(char) > 31 for char in word)
            told[name] = word if good else None
        told["brightness"] = _whole(get("brightness"), 0, 100, 100)
        told["keepalive_ms"] = _whole(get("keepalive_ms"), 50, 60_000, 1_000)
        told["period_ms"] = _whole(get("period_ms"), 10, 60_000, 500)
        told["time_ms"] = _whole(get("time_ms"), 0, _LARGEST, 0)
    return told


def _whole(value, low: int, high: int, default: int) -> int:
    return min(max(value, low), high) if type(value) is int else default

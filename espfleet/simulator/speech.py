"""Protocol 1 from the lamp's side: what it says, as JSON text, and what it understands.

``domain.messages`` and ``domain.replies`` are the gateway's side. A lamp trusts nothing it hears: what it cannot use
it ignores, and every number is kept in a range that it can live with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.domain.messages import KEEPALIVE_MS, PERIOD_MS, PROTOCOL, Keepalive
from espfleet.domain.states import UNKNOWN_LEVEL, State

_LEASE_MS = (20, 600_000)
_PERIOD_MS = (10, 60_000)
_KEEPALIVE_MS = (50, 60_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What to show: a level from 0 to 100 for ``lease_ms``."""

    level: int
    state: State
    seq: int
    lease_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Welcome:
    """Who the lamp is, how to behave, and what to show.

    Attributes:
        name: Its name, or ``""``.
        room, group: Where it stands and what it shows, or ``None``.
        brightness: Percent.
        keepalive_ms: Time between two keepalives.
        period_ms: A level is promised at least this often.
        time_ms: The gateway's clock, ms since the epoch, or ``None``.
        level: The present level, or ``None`` if it told none.
    """

    name: str
    room: str | None
    group: str | None
    brightness: int
    keepalive_ms: int
    period_ms: int
    time_ms: int | None
    level: Level | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Something to do now."""

    id: str
    action: str
    arguments: Mapping[str, Any]


Told = Level | Welcome | Command


def hello(
    *,
    device_id: str,
    token: str,
    firmware: str,
    chip: str,
    capabilities: Sequence[str],
    boot_reason: str,
    boot_count: int,
    resume: int | None,
) -> str:
    """Return the first message of a lamp."""
    values = {
        "type": "hello",
        "protocol": PROTOCOL,
        "id": device_id,
        "token": token,
        "firmware": firmware,
        "chip": chip,
        "capabilities": list(capabilities),
        "boot": {"reason": boot_reason, "count": boot_count},
    }
    return _write(values if resume is None else {**values, "resume": resume})


def keepalive(what: Keepalive) -> str:
    """Return the message that says that the lamp lives, with everything it has to tell."""
    return _write({"type": "keepalive", **what.values()})


def result(command_id: str, *, data: Mapping[str, Any] | None = None, error: str = "") -> str:
    """Return the answer to a command: ``data`` if it was done, a sentence in ``error`` if not."""
    if error:
        return _write({"type": "result", "id": command_id, "ok": False, "error": error})
    return _write({"type": "result", "id": command_id, "ok": True, "data": dict(data or {})})


def readings(values: Mapping[str, float], at_ms: int | None) -> str:
    """Return the message that tells numbers by name; ``at_ms`` is ms since the epoch, or ``None`` without a clock."""
    stamp = {} if at_ms is None else {"at_ms": at_ms}
    return _write({"type": "readings", **stamp, "values": dict(values)})


def event(name: str, fields: Mapping[str, Any]) -> str:
    """Return the message that tells that something happened."""
    return _write({**fields, "type": "event", "name": name})


def understand(text: str | bytes) -> Told | None:
    """Return what the gateway told, or ``None`` if a lamp can do nothing with it."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    match values.get("type"):
        case "level":
            return _level(values)
        case "welcome":
            return _welcome(values)
        case "command":
            return _command(values)
    return None


def _level(values: Mapping[str, Any]) -> Level | None:
    level = values.get("level")
    if not isinstance(level, int | float) or isinstance(level, bool) or not 0 <= level <= 100:
        return None
    try:
        state = State(values.get("state", State.OK))
    except ValueError:
        # A state of a later protocol: whatever it means, it is not a reason to be green.
        state, level = State.UNKNOWN, UNKNOWN_LEVEL
    return Level(
        level=int(level),
        state=state,
        seq=_whole(values.get("seq"), 0, 2**53 - 1, 0),
        lease_ms=_whole(values.get("lease_ms"), *_LEASE_MS, 3 * PERIOD_MS),
    )


def _welcome(values: Mapping[str, Any]) -> Welcome:
    time_ms = _whole(values.get("time_ms"), 0, 2**53 - 1, 0)
    return Welcome(
        name=_text(values.get("name")) or "",
        room=_text(values.get("room")),
        group=_text(values.get("group")),
        brightness=_whole(values.get("brightness"), 0, 100, 100),
        keepalive_ms=_whole(values.get("keepalive_ms"), *_KEEPALIVE_MS, KEEPALIVE_MS),
        period_ms=_whole(values.get("period_ms"), *_PERIOD_MS, PERIOD_MS),
        time_ms=time_ms or None,
        level=_level(values),
    )


def _command(values: Mapping[str, Any]) -> Command | None:
    command_id, action, arguments = values.get("id"), values.get("action"), values.get("arguments", {})
    if not (isinstance(command_id, str) and isinstance(action, str) and isinstance(arguments, dict)):
        return None
    return Command(id=command_id, action=action, arguments=arguments)


def _whole(value: object, low: int, high: int, default: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        return default
    return min(max(value, low), high)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and len(value) <= 64 and value.isprintable() else None


def _write(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))

"""Protocol 1: what the gateway says to lamps and viewers, as JSON text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from espfleet.domain.messages import KEEPALIVE_MS, PERIOD_MS, WATCHDOG_MS, LampEvent
from espfleet.domain.states import GroupLevel

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def timestamp(at_ms: int) -> str:
    """Return ms since the epoch as S1 writes it: ISO-8601 in UTC with microseconds."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).isoformat(timespec="microseconds")


def level(shown_level: GroupLevel, *, lease_ms: int, at_ms: int, mono_s: float) -> str:
    """Return the message that tells lamps a level.

    Args:
        shown_level: What to show.
        lease_ms: How long it may be shown without a newer one.
        at_ms: When it is sent, ms since the epoch.
        mono_s: The same on a clock that never jumps, seconds.
    """
    return _write({"type": "level", **_level_fields(shown_level, lease_ms, at_ms, mono_s)})


def welcome(
    shown_level: GroupLevel,
    *,
    name: str,
    room: str | None,
    group: str | None,
    brightness: int,
    keepalive_ms: int = KEEPALIVE_MS,
    watchdog_ms: int = WATCHDOG_MS,
    period_ms: int = PERIOD_MS,
    lease_ms: int,
    at_ms: int,
    mono_s: float,
) -> str:
    """Return the answer to a hello: who the lamp is, how to behave, and the fields of a level message.

    It comes again whenever something in it changed.
    """
    return _write(
        {
            "type": "welcome",
            "name": name,
            "room": room,
            "group": group,
            "brightness": brightness,
            "keepalive_ms": keepalive_ms,
            "watchdog_ms": watchdog_ms,
            "period_ms": period_ms,
            "time_ms": at_ms,
            **_level_fields(shown_level, lease_ms, at_ms, mono_s),
        }
    )


def command(command_id: str, action: str, arguments: Mapping[str, Any], expires_ms: int) -> str:
    """Return the message that tells a device to do something within ``expires_ms`` from now."""
    return _write(
        {"type": "command", "id": command_id, "action": action, "arguments": arguments, "expires_ms": expires_ms}
    )


def watching(gateway: str, *, at_ms: int, period_ms: int = PERIOD_MS) -> str:
    """Return the answer to a watch; the present state of everything watched follows."""
    return _write({"type": "watching", "gateway": gateway, "period_ms": period_ms, "time_ms": at_ms})


def viewer_level(shown_level: GroupLevel) -> str:
    """Return what viewers are told of a group's level."""
    return _write({"type": "level", "group": shown_level.group, "seq": shown_level.seq, **shown_level.to_dict()})


def viewer_presence(device_id: str, name: str, presence: str, reason: str, at_ms: int) -> str:
    """Return what viewers are told when a device comes or goes; ``reason`` is ``""`` while it is live."""
    return _write(
        {"type": "presence", "id": device_id, "name": name, "presence": presence, "reason": reason, "at_ms": at_ms}
    )


def viewer_event(device_id: str, name: str, event: LampEvent, at_ms: int) -> str:
    """Return what viewers are told of an event on a device."""
    return _write(
        {
            "type": "event",
            "id": device_id,
            "name": name,
            "event": event.name,
            "fields": dict(event.fields),
            "at_ms": at_ms,
        }
    )


def viewer_reading(device_id: str, name: str, values: Mapping[str, float], at_ms: int) -> str:
    """Return what viewers are told of a device's readings."""
    return _write({"type": "reading", "id": device_id, "name": name, "values": dict(values), "at_ms": at_ms})


def _level_fields(shown_level: GroupLevel, lease_ms: int, at_ms: int, mono_s: float) -> dict[str, Any]:
    return {
        "level": shown_level.level,
        "state": shown_level.state.value,
        "seq": shown_level.seq,
        "lease_ms": lease_ms,
        "timestamp": timestamp(at_ms),
        "server_mono_ts": round(mono_s, 6),
    }


def _write(values: Mapping[str, Any]) -> str:
    return json.dumps(values, separators=(",", ":"))

"""Visits: how long a device was there, each time it came, as S4 tells it; times in UTC."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

#: Past visits that are remembered of a device.
KEPT = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Visit:
    """A device was there: from when until when, ms since the epoch."""

    came_ms: int
    went_ms: int

    def fields(self) -> dict[str, Any]:
        """Return what ``/connection_history`` tells of it."""
        seconds = max(self.went_ms - self.came_ms, 0) // 1_000
        return {
            "connect_time": date_text(self.came_ms),
            "connect_timestamp": self.came_ms / 1_000,
            "disconnect_time": date_text(self.went_ms),
            "disconnect_timestamp": self.went_ms / 1_000,
            "duration_seconds": seconds,
            "duration_formatted": span_text(seconds),
            "status": "disconnected",
        }


def uptime_fields(seconds: int | None) -> dict[str, Any]:
    """Return what ``/connection_uptime`` tells of a device that has been there so long, or with ``None`` is not."""
    total = seconds or 0
    days, hours, minutes, rest = _parts(total)
    return {
        "connected": seconds is not None,
        "uptime_seconds": total,
        "uptime_formatted": "Not connected" if seconds is None else span_text(total),
        "days": days,
        "hours": hours,
        "minutes": minutes,
        "seconds": rest,
    }


def date_text(at_ms: int) -> str:
    """Return ms since the epoch as ``YYYY-MM-DD HH:MM:SS``."""
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%d %H:%M:%S")


def span_text(seconds: int) -> str:
    """Return a span as ``1d 2h 3m 4s``, without units of which there are none before the first."""
    parts = [f"{count}{unit}" for count, unit in zip(_parts(seconds), "dhms", strict=True)]
    first = next((place for place, count in enumerate(_parts(seconds)) if count), 3)
    return " ".join(parts[first:])


def _parts(seconds: int) -> tuple[int, int, int, int]:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return days, hours, minutes, rest

"""How long a device was there, in S4's words."""

from __future__ import annotations

import pytest

from espfleet.domain.visits import Visit, span_text, uptime_fields


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59, "59s"), (723, "12m 3s"), (3_600, "1h 0m 0s"), (93_784, "1d 2h 3m 4s"), (86_400, "1d 0h 0m 0s")],
)
def test_a_span_is_told_from_its_largest_unit(seconds: int, text: str) -> None:
    assert span_text(seconds) == text


def test_a_visit_is_told_in_utc() -> None:
    assert Visit(1_763_670_000_500, 1_763_670_723_900).fields() == {
        "connect_time": "2025-11-20 20:20:00",
        "connect_timestamp": 1_763_670_000.5,
        "disconnect_time": "2025-11-20 20:32:03",
        "disconnect_timestamp": 1_763_670_723.9,
        "duration_seconds": 723,
        "duration_formatted": "12m 3s",
        "status": "disconnected",
    }


def test_uptime_has_its_parts() -> None:
    assert uptime_fields(93_784) == {
        "connected": True, "uptime_seconds": 93_784, "uptime_formatted": "1d 2h 3m 4s",
        "days": 1, "hours": 2, "minutes": 3, "seconds": 4,
    }  # fmt: skip
    assert uptime_fields(None) == {
        "connected": False, "uptime_seconds": 0, "uptime_formatted": "Not connected",
        "days": 0, "hours": 0, "minutes": 0, "seconds": 0,
    }  # fmt: skip

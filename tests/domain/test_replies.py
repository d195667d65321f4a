"""What the gateway says, held against the golden messages that the firmware's tests use too."""

from __future__ import annotations

from pathlib import Path

import pytest

from espfleet.domain import replies
from espfleet.domain.messages import LampEvent
from espfleet.domain.states import GroupLevel, State

GOLDEN = Path(__file__).parent.parent / "golden"
AT_MS = 1_763_670_000_123
MONO_S = 12_345.678901
CALM = GroupLevel(group="wan", level=37, state=State.OK, at_ms=1_763_670_000_100, seq=42, reason="router")
UNKNOWN = GroupLevel(group="wan", level=50, state=State.UNKNOWN, at_ms=1_763_670_000_100, seq=43, reason="no targets")
PORCH = "3c71bff93720"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("level", replies.level(CALM, lease_ms=1_500, at_ms=AT_MS, mono_s=MONO_S)),
        ("level_unknown", replies.level(UNKNOWN, lease_ms=1_500, at_ms=AT_MS, mono_s=MONO_S)),
        (
            "welcome",
            replies.welcome(
                CALM,
                name="porch",
                room="hall",
                group="wan",
                brightness=80,
                lease_ms=1_500,
                at_ms=AT_MS,
                mono_s=MONO_S,
            ),
        ),
        (
            "welcome_no_room",
            replies.welcome(
                UNKNOWN,
                name="porch",
                room=None,
                group=None,
                brightness=100,
                lease_ms=1_500,
                at_ms=AT_MS,
                mono_s=MONO_S,
            ),
        ),
        ("command", replies.command("c-1", "gpio", {"pin": 4, "value": 1}, 5_000)),
        ("watching", replies.watching("gateway-1", at_ms=AT_MS)),
        ("viewer_level", replies.viewer_level(CALM)),
        ("viewer_presence", replies.viewer_presence(PORCH, "porch", "offline", "silent", AT_MS)),
        (
            "viewer_event",
            replies.viewer_event(PORCH, "porch", LampEvent(name="button", fields={"pressed": True}), AT_MS),
        ),
        ("viewer_reading", replies.viewer_reading(PORCH, "porch", {"temperature_c": 21.5}, AT_MS)),
    ],
)
def test_the_gateway_says_exactly_the_golden_message(name: str, text: str) -> None:
    assert text == (GOLDEN / f"{name}.json").read_text().strip()


def test_a_timestamp_is_written_as_ping_lamp_wrote_it() -> None:
    assert replies.timestamp(AT_MS) == "2025-11-20T20:20:00.123000+00:00"
    assert replies.timestamp(AT_MS // 1_000 * 1_000) == "2025-11-20T20:20:00.000000+00:00"

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from espfleet.domain.messages import Hello, Keepalive, LampEvent, Readings, Result, parse
from espfleet.domain.states import State
from espfleet.simulator import speech
from espfleet.simulator.speech import Command, Level, Welcome, understand

GOLDEN = Path(__file__).parent.parent / "golden"
TOKEN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQ"
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)
NAMES = ("type", "level", "state", "seq", "lease_ms", "name", "room", "brightness", "keepalive_ms", "id", "arguments")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text().strip()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "hello",
            speech.hello(
                device_id="3c71bff93720",
                token=TOKEN,
                firmware="1.0.0",
                chip="ESP32",
                capabilities=["identify", "brightness"],
                boot_reason="power-on",
                boot_count=3,
                resume=41,
            ),
        ),
        (
            "keepalive_full",
            speech.keepalive(Keepalive(shown=37, rssi_dbm=-61, heap_bytes=112_640, uptime_ms=86_400_000, late_ms=512)),
        ),
        ("result", speech.result("c-1", data={"pin": 4, "value": 1})),
        ("result_failed", speech.result("c-2", error="there is no pin 99")),
        ("readings", speech.readings({"temperature_c": 21.5, "humidity_percent": 40}, 1_763_670_000_123)),
    ],
)
def test_a_lamp_says_exactly_the_golden_message(name: str, text: str) -> None:
    assert text == golden(name)


def test_the_gateway_understands_all_that_a_lamp_says() -> None:
    hello = speech.hello(
        device_id="3c71bff93720",
        token="t",
        firmware="1",
        chip="c",
        capabilities=[],
        boot_reason="r",
        boot_count=1,
        resume=None,
    )
    assert isinstance(parse(hello), Hello)
    assert parse(speech.keepalive(Keepalive())) == Keepalive()
    assert isinstance(parse(speech.result("c-1")), Result)
    assert isinstance(parse(speech.readings({"a": 1}, None)), Readings)
    assert parse(speech.event("button", {"pressed": True})) == LampEvent(name="button", fields={"pressed": True})


def test_an_event_cannot_pretend_to_be_another_message() -> None:
    assert isinstance(parse(speech.event("button", {"type": "hello", "name": "other"})), LampEvent)


def test_a_welcome_tells_who_the_lamp_is_and_what_to_show() -> None:
    assert understand(golden("welcome")) == Welcome(
        name="porch",
        room="hall",
        group="wan",
        brightness=80,
        keepalive_ms=1_000,
        period_ms=500,
        time_ms=1_763_670_000_123,
        level=Level(level=37, state=State.OK, seq=42, lease_ms=1_500),
    )


def test_levels_and_commands_are_understood() -> None:
    assert understand(golden("level")) == Level(level=37, state=State.OK, seq=42, lease_ms=1_500)
    assert understand(golden("level_unknown")) == Level(level=50, state=State.UNKNOWN, seq=43, lease_ms=1_500)
    assert understand(golden("command")) == Command(id="c-1", action="gpio", arguments={"pin": 4, "value": 1})


def test_a_state_of_a_later_protocol_is_never_green() -> None:
    told = understand('{"type":"level","level":0,"state":"splendid"}')
    assert told == Level(level=50, state=State.UNKNOWN, seq=0, lease_ms=1_500)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "null",
        "[]",
        "{}",
        '{"type":"later"}',
        '{"type":"level"}',
        '{"type":"level","level":"37"}',
        '{"type":"level","level":101}',
        '{"type":"level","level":true}',
        '{"type":"level","level":NaN}',
        '{"type":"command","action":"identify"}',
        '{"type":["level"]}',
        "[" * 100_000,
        b"\x00\x01",
    ],
)
def test_what_a_lamp_cannot_use_it_ignores(text: str | bytes) -> None:
    assert understand(text) is None


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES), json_values), st.sampled_from(["level", "welcome", "command", "x"]))
def test_nothing_that_a_gateway_says_can_break_a_lamp(values: dict[str, object], kind: str) -> None:
    told = understand(json.dumps({**values, "type": kind}))
    if isinstance(told, Welcome):
        assert 50 <= told.keepalive_ms <= 60_000
        told = told.level
    if isinstance(told, Level):
        assert 0 <= told.level <= 100
        assert 20 <= told.lease_ms <= 600_000

"""What the lamp says and understands, held against the golden messages that the gateway's tests use too."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from espfleet.domain import messages
from espfleet.simulator import speech as simulated
from lamp import speech
from tests.firmware.boards import Firmware

GOLDEN = Path(__file__).parent.parent / "golden"
TO_LAMPS = ("level", "level_unknown", "welcome", "welcome_no_room", "command")
ODD = [None, True, 0, -1, 1.5, 101, 10**30, "", "x", "ok", "paused", [], ["a"], {}, {"a": 1}, "\u0007", "x" * 65]
FIELDS = ("level", "state", "seq", "lease_ms", "name", "room", "brightness", "keepalive_ms", "period_ms", "time_ms")


def golden(name: str) -> str:
    return (GOLDEN / f"{name}.json").read_text().strip()


def texts() -> list[str]:
    """Return everything that a gateway may say, and much that none should."""
    odd = [
        json.dumps({"type": kind, "level": 10, field: value})
        for kind in ("level", "welcome")
        for field in FIELDS
        for value in ODD
    ]
    commands = [
        json.dumps({"type": "command", "id": "c-1", "action": "identify", field: value})
        for field in ("id", "action", "arguments")
        for value in ODD
    ]
    broken = ["", "{", "[1,2]", "null", "7", '"level"', "{}", '{"type":7}', '{"type":"levels","level":1}', "NaN"]
    return [*map(golden, TO_LAMPS), *odd, *commands, *broken]


def plain(told: Any) -> dict[str, Any]:
    """Return what a simulated lamp understands in the way the firmware has it."""
    if told is None:
        return {}
    values = asdict(told)
    if isinstance(told, simulated.Welcome):
        level = values.pop("level") or {}
        values |= level
        values["time_ms"] = values["time_ms"] or 0
    return {"type": type(told).__name__.lower(), **values}


def same(text: str, understood: dict[str, Any]) -> None:
    expected = plain(simulated.understand(text))
    assert {**understood, "name": understood.get("name") or ""} == {**expected, "name": expected.get("name") or ""}, (
        text
    )


@pytest.mark.parametrize("name", TO_LAMPS)
def test_a_golden_message_is_understood_as_it_was_meant(name: str) -> None:
    understood = speech.understand(golden(name))
    assert understood["type"] == name.partition("_")[0]
    same(golden(name), understood)
    message = json.loads(golden(name))
    known = {"id", "action", "arguments"} if name == "command" else {"level", "state", "seq", "lease_ms"}
    assert {field: understood[field] for field in known} == {field: message[field] for field in known}


def test_whatever_it_hears_the_lamp_understands_what_a_simulated_one_does() -> None:
    for text in texts():
        same(text, speech.understand(text))


async def test_micropython_understands_the_same(firmware: Firmware, tmp_path: Path) -> None:
    asked = [text for text in texts() if text != "NaN"]
    (tmp_path / "texts.json").write_text(json.dumps(asked))
    out = await firmware.run("understand.py", folder=tmp_path, heap="500wk")
    for text, line in zip(asked, out.splitlines(), strict=True):
        same(text, json.loads(line))


def test_bytes_are_no_message() -> None:
    assert speech.understand(b'{"type":"level","level":1}') == {}


@pytest.mark.parametrize(
    "name", ["hello", "keepalive", "keepalive_full", "result", "result_failed", "readings", "event"]
)
def test_what_the_lamp_says_is_the_golden_message(name: str) -> None:
    fields = json.loads(golden(name))
    kind = fields.pop("type")
    said = speech.write(kind, **fields, nothing=None)
    assert json.loads(said) == json.loads(golden(name))
    assert messages.parse(said) == messages.parse(golden(name))


def test_the_usual_keepalive_is_the_golden_one() -> None:
    assert golden("keepalive") == speech.KEEPALIVE


def test_no_level_that_a_gateway_sends_makes_a_later_state_green() -> None:
    understood = speech.understand('{"type":"level","level":0,"state":"frozen"}')
    assert (understood["state"], understood["level"]) == ("unknown", 50)

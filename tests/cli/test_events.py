"""``events`` as people read it."""

from __future__ import annotations

import asyncio

import pytest

from espfleet.cli import output
from espfleet.domain.outages import EVENT
from espfleet.errors import CableError
from espfleet.store import events
from espfleet.store.client import open_store
from tests.cli.conftest import Type

OUTAGE = {
    "scope": "room", "name": "hall", "rooms": ["hall"], "devices": ["a", "b"], "count": 2, "of": 2,
    "reason": "silent", "first_id": "1-0", "last_id": "2-0", "began_ms": 1,
}  # fmt: skip


async def record(url: str, *many: tuple[str, dict[str, object]]) -> None:
    async with open_store(url, name="test") as store:
        for kind, fields in many:
            await events.add(store, kind, fields)


def test_events_are_listed_newest_first_with_outages_in_words(type_: Type, redis_url: str) -> None:
    assert type_("register", "192.0.2.7", "porch", "--id", "3c71bff93720").code == 0
    came: dict[str, object] = {"device": "3c71bff93720", "presence": "live", "reason": None, "gateway": "g"}
    asyncio.run(record(redis_url, ("presence", came), (EVENT, OUTAGE)))
    first, second = type_("events").json
    assert first["sentence"] == "2 of 2 devices of room hall went offline at one moment: silent"
    assert (second["device_name"], second["presence"]) == ("porch", "live")
    assert len(type_("events", "1").json) == 1
    assert "count must be a number from 1 to 10000" in type_("events", "0").err


def test_what_a_device_says_cannot_act_on_the_terminal(
    type_: Type, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {"device": "3c71bff93720", "event": "[/red]\x1b[2Jgone\nnext", "fields": {}, "at_ms": 1}
    asyncio.run(record(redis_url, ("device", said)))
    monkeypatch.setattr(output, "for_programs", lambda: False)
    shown = type_("events")
    assert shown.code == 0
    assert "\x1b[2J" not in shown.out
    assert r"[/red]\x1b[2Jgone" in shown.out


def test_what_a_device_says_cannot_act_on_the_terminal_as_json_either(type_: Type, redis_url: str) -> None:
    text = "\x9b31m\u202e\x7f\u2028\U000e0001gr\u00fcn"
    asyncio.run(record(redis_url, ("device", {"device": "3c71bff93720", "event": "x", "fields": {text: text}})))
    shown = type_("events")
    assert "".join(shown.out.split("\n")).isprintable()
    assert "gr\u00fcn" in shown.out
    assert shown.json[0]["fields"] == {text: text}


def test_why_something_failed_cannot_act_on_the_terminal(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        # As when a board on a cable says so.
        raise CableError("the board fails with \x1b]0;x\x07\x9b2J")

    monkeypatch.setattr("espfleet.cli.root.Cli.doctor", failing)
    refused = type_("doctor")
    assert refused.code == 1
    assert refused.err == "espfleet: the board fails with \\x1b]0;x\\x07\\x9b2J\n"

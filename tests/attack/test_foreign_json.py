"""What one reader of JSON takes and the next breaks on: numbers that are none, half characters, values in values."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from espfleet.domain.messages import ProtocolError, parse
from espfleet.errors import InvalidError
from espfleet.gateway.dialects.boards import S3Board
from espfleet.gateway.settings import GatewaySettings
from espfleet.services import telling
from espfleet.store.client import Store
from espfleet.store.feed import EventSent, Feed, Topic
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Start, fleet, gateway, lamp_of, start
from tests.web.serving import Web, web

__all__ = ["Fleet", "Gateway", "Start", "Web", "fleet", "gateway", "start", "web"]

VALUES = {
    "too big for a number": "1e999",
    "infinite, in a list": '[1,{"a":-1e999}]',
    "a whole number of 3,000 digits": "1" + "0" * 3_000,
    "half a character": r'"\ud800"',
    "half a character as a name": r'{"\udc00":1}',
    "deeper than the next reader bears": "[" * 960 + "]" * 960,
    "deep": "[" * 17 + "]" * 17,
}
HOSTILE = pytest.mark.parametrize("value", VALUES.values(), ids=VALUES)


@HOSTILE
def test_an_event_and_a_result_hold_only_what_everybody_can_read(value: str) -> None:
    for message in (
        f'{{"type":"event","name":"button","x":{value}}}',
        f'{{"type":"result","id":"c-1","ok":true,"data":{{"x":{value}}}}}',
    ):
        with pytest.raises(ProtocolError):
            parse(message)
    board = S3Board(GatewaySettings(port=0))
    assert board.read(f'{{"type":"alert","x":{value}}}') is None
    assert board.read(f'{{"sensor":{value}}}') is None


def test_what_everybody_can_read_is_passed_on() -> None:
    fields = {"a": [1, -2.5, {"b": "grün\n\U0001f4a1", "c": None, "d": True}], "e": 2**63, "f": {"g": [[[[[1]]]]]}}
    assert parse(json.dumps({"type": "event", "name": "button", **fields})).fields == fields  # type: ignore[union-attr]


async def test_no_lamp_can_spoil_the_events_for_all(fleet: Fleet, gateway: Gateway, web: Web) -> None:
    device, token = await fleet.add("porch")
    for value in VALUES.values():
        async with lamp_of(gateway, device, token) as lamp:
            await lamp.receive()
            await lamp.socket.send(f'{{"type":"event","name":"button","x":{value}}}')
            code, reason = await lamp.closed()
            assert (code, len(reason) > 10) == (4003, True)

    async def kinds() -> set[str]:
        return {row["kind"] for row in await web.get("/api/events?limit=1000")}

    # That it came is told with what it said, or sooner.
    await wait_until(kinds)
    assert await kinds() == {"presence"}


@HOSTILE
async def test_nobody_tells_a_lamp_what_it_cannot_read(store: Store, value: str, web: Web) -> None:
    body = f'{{"action":"override","arguments":{{"level":{value}}}}}'
    for path in ("/api/devices/porch/commands", "/api/rooms/hall/commands"):
        answer = await web.send("POST", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text


async def test_arguments_are_checked_before_anybody_is_told(store: Store) -> None:
    wish: dict[str, Any] = {"name": "porch", "action": "identify", "timeout_ms": 100, "now_ms": 1}
    with pytest.raises(InvalidError, match="what the arguments hold must be a number"):
        await telling.tell(store, arguments={"level": float("inf")}, **wish)


async def test_a_message_that_is_nested_too_deep_ends_no_feed(store: Store) -> None:
    deep = "1-1 " + "[" * 5_000
    async with Feed(store, [Topic.EVENTS]) as feed:
        await anext(aiter(feed))
        for text in (deep, '1-2 {"kind":"device"}'):
            await store.do("SPUBLISH", store.keys.events_channel(), text)
        async with asyncio.timeout(20):
            heard = await anext(aiter(feed))
        assert isinstance(heard, EventSent)
        assert heard.event.event_id == "1-2"

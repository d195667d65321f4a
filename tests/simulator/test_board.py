from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from urllib.parse import urlencode

import pytest

from espfleet.boards import client
from espfleet.domain.light import Word
from espfleet.errors import BoardAnswerError, RefusedError
from espfleet.simulator.fleet import Simulator
from espfleet.simulator.specs import LampSpec, hardware_id
from tests.conftest import wait_until
from tests.simulator.conftest import FakeGateway, get, post, running

ID = hardware_id(1)
URL = "ws://127.0.0.1:9"


@pytest.fixture
async def new_lamp() -> AsyncIterator[Simulator]:
    """A lamp that was never provisioned."""
    async with running([LampSpec(id=ID, name="lamp-1")], URL) as simulator:
        yield simulator


async def test_the_root_says_what_an_espnet_board_says_and_who_it_is(new_lamp: Simulator) -> None:
    status, headers, body = await get(new_lamp.look(ID).address, "/")
    values = json.loads(body)
    assert status == 200
    assert headers["content-type"] == "application/json"
    assert isinstance(values["f"], int)
    assert 80 < values["f"] < 160
    assert values["id"] == ID
    assert set(values["gpio"].values()) <= {0, 1}
    assert {"0", "2", "39"} <= set(values["gpio"])
    assert values["kind"] == "lamp"
    assert values["name"] == "lamp-1"
    assert values["chip"] == "simulated"
    assert re.fullmatch(r"\d+\.\d+\.\d+", values["firmware"])
    assert values["provision"] is True


async def test_the_state_is_told_for_programs(gateway: FakeGateway) -> None:
    async with running([LampSpec(id=ID, name="lamp-1", token="t")], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).level == 20)
        await wait_until(lambda: simulator.look(ID).rgb[1] > 200)
        status, _, body = await get(simulator.look(ID).address, "/state")
    values = json.loads(body)
    assert status == 200
    assert (values["level"], values["state"], values["look"], values["link"]) == (20, "ok", "level", "connected")
    assert (values["name"], values["room"], values["group"], values["why"]) == ("porch", "hall", "wan", "")
    assert all(isinstance(part, int) and 0 <= part <= 255 for part in values["rgb"])
    assert set(values["channels"]) == {"green", "orange", "red"}
    assert 0 <= time.time() * 1000 - values["since_ms"] < 30_000


async def test_the_page_shows_the_light_and_needs_nothing_from_elsewhere(new_lamp: Simulator) -> None:
    await wait_until(lambda: new_lamp.look(ID).word == Word.NO_SETTINGS)
    status, headers, body = await get(new_lamp.look(ID).address, "/ui")
    page = body.decode()
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert '<h1 id="name">lamp-1</h1>' in page
    assert ID in page
    assert "no settings" in page
    assert re.search(r"background: rgb\(\d+, \d+, \d+\)", page)
    assert 'fetch("/state"' in page
    assert "$" not in page.replace("${", "")
    assert not re.search(r"https?://|\bsrc=|<link(?! rel=.icon. href=.data:,.>)|@import", page)
    assert "default-src 'none'" in headers["content-security-policy"]


async def test_other_paths_and_methods_are_refused_with_a_sentence(new_lamp: Simulator) -> None:
    address = new_lamp.look(ID).address
    status, _, body = await get(address, "/gpio")
    assert status == 404
    assert "there is nothing here: look at /, /ui, /state, /provision" in json.loads(body)["error"]
    status, _, body = await get(address, "/../etc/passwd")
    assert status == 404
    status, headers, _ = await get(address, "/provision")
    assert (status, headers["allow"]) == (405, "POST")
    assert await post(address, "/", {}) == (405, {"error": "/ takes only GET"})


@pytest.mark.parametrize("form", [False, True], ids=["JSON", "form"])
async def test_a_token_can_be_handed_over_once(new_lamp: Simulator, form: bool) -> None:
    address = new_lamp.look(ID).address
    values = {"token": "secret", "gateway_url": URL}
    sent = urlencode(values).encode() if form else values
    kind = "application/x-www-form-urlencoded" if form else "application/json; charset=utf-8"
    assert (await post(address, "/provision", sent, Content_Type=kind))[0] == 200
    assert json.loads((await get(address, "/"))[2])["provision"] is False
    assert (await post(address, "/provision", values))[0] == 200
    status, answer = await post(address, "/provision", {"token": "other"})
    assert (status, answer) == (409, {"error": "this lamp has a token already, and its gateway accepts it"})


@pytest.mark.parametrize(
    ("body", "status", "sentence"),
    [
        ({}, 400, "token must be a text"),
        ({"token": ""}, 400, "token must be a text"),
        ({"token": 7}, 400, "token must be a text"),
        ({"token": "x" * 129}, 400, "token must be a text"),
        ({"token": "a\x00b"}, 400, "token must be a text"),
        ({"token": "secret", "gateway_url": "http://127.0.0.1"}, 400, "is not the URL of a gateway"),
        ({"token": "secret", "gateway_url": 7}, 400, "is not the URL of a gateway"),
        (["token"], 400, "not a JSON object"),
        (b"{", 400, "the body is not application/json"),
        (b"[" * 4_000, 400, "the body is not application/json"),
        (b"\xff", 400, "the body is not application/json"),
    ],
)
async def test_a_bad_token_is_refused_and_the_lamp_stays_open(
    new_lamp: Simulator, body: object, status: int, sentence: str
) -> None:
    answered, answer = await post(new_lamp.look(ID).address, "/provision", body)
    assert answered == status
    assert sentence in answer["error"]
    assert new_lamp.look(ID).link == "no settings"


async def test_a_body_must_say_what_it_is(new_lamp: Simulator) -> None:
    address = new_lamp.look(ID).address
    for kind in ("text/plain", "", "application/x-www-form-urlencoded"):
        status, _ = await post(address, "/provision", b"\xff" if "form" in kind else b"{}", Content_Type=kind)
        assert status == (400 if "form" in kind else 415)


async def test_no_web_page_can_hand_a_token_to_a_lamp(new_lamp: Simulator) -> None:
    address = new_lamp.look(ID).address
    status, answer = await post(address, "/provision", {"token": "evil"}, Origin="http://elsewhere.example")
    assert (status, answer) == (403, {"error": "a web page cannot provision a lamp: use ./espcli register"})
    status, answer = await post(address, "/provision", {"token": "evil"}, Origin="null")
    assert status == 403
    assert new_lamp.look(ID).link == "no settings"


async def test_a_token_is_told_to_nobody(gateway: FakeGateway) -> None:
    async with running([LampSpec(id=ID, name="lamp-1", token="very-secret")], gateway.url) as simulator:
        await wait_until(lambda: ID in gateway.lamps)
        for path in ("/", "/ui", "/state"):
            assert b"very-secret" not in (await get(simulator.look(ID).address, path))[2]


async def test_the_register_command_finds_and_provisions_a_simulated_lamp(gateway: FakeGateway) -> None:
    async with running([LampSpec(id=ID, name="lamp-1")], URL) as simulator:
        address = simulator.look(ID).address
        info = await asyncio.to_thread(client.identify, address)
        assert (info.id, info.name, info.kind, info.provision) == (ID, "lamp-1", "lamp", True)
        await asyncio.to_thread(client.provision, address, "secret", gateway.url)
        await wait_until(lambda: simulator.look(ID).link == "connected")
        assert gateway.hellos[0].token == "secret"
        with pytest.raises(RefusedError, match="has another token already"):
            await asyncio.to_thread(client.provision, address, "other", gateway.url)
        with pytest.raises(BoardAnswerError, match="is not the URL of a gateway"):
            await asyncio.to_thread(client.provision, address, "secret", "http://127.0.0.1")

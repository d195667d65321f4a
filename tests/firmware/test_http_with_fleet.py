"""A real lamp and the fleet's own command line, over the lamp's HTTP server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from espfleet.boards.client import Board as Client
from espfleet.boards.client import identify
from espfleet.cli.main import run
from espfleet.errors import BoardRefusedError
from tests.firmware.boards import Board
from tests.firmware.pages import Pages
from tests.firmware.together import Boards
from tests.gateway.conftest import Fleet, Start

Type = Callable[..., Awaitable[Any]]


@pytest.fixture
def type_(
    redis_url: str, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Type:
    """Run a command of the fleet in a thread; return what it printed."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setenv("ESPFLEET_HOME", str(tmp_path))

    async def typed(*words: str, code: int = 0) -> Any:
        capsys.readouterr()
        ended = await asyncio.to_thread(run, list(words))
        out, err = capsys.readouterr()
        assert ended == code, err
        return json.loads(out) if code == 0 else err

    return typed


def secrets(board: Board) -> dict[str, Any]:
    place = json.loads((board.folder / "settings.json").read_text())["vault"]
    kept: dict[str, Any] = json.loads(bytes.fromhex(json.loads((board.folder / "nvs").read_text())[f"secrets{place}"]))
    return kept


async def test_register_finds_a_lamp_hands_it_its_token_and_it_connects(
    fleet: Fleet, start: Start, boards: Boards, type_: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start()
    monkeypatch.setenv("SERVER_PORT", str(gateway.port))
    board = boards(token="", gateway="")
    board.power_on()
    lamp = await Pages(board).ready()
    done = await type_("register", lamp.host, "porch", "--room", "hall")
    assert done == {"name": "porch", "id": "3c71bff93720", "room": "hall", "new": True}
    await board.line("link: connected as porch")
    await board.line("light: level")
    assert (await lamp.get("/state")).json["room"] == "hall"
    assert (await lamp.get("/")).json["provision"] is False
    # Again: nobody is shown or given anything.
    assert (await type_("register", lamp.host, "porch"))["new"] is False

    def requests(verb: str, *words: str, code: int = 0) -> Awaitable[Any]:
        return type_("device", "porch", "requests", verb, *words, code=code)

    basic = await requests("get_basic")
    assert (basic["id"], basic["f"], basic["gpio"]["25"]) == ("3c71bff93720", 113.0, 0)
    refused = await requests("set_gpio", "25", "1", code=1)
    assert "this lamp is registered and wants its token" in refused
    monkeypatch.setenv("BOARD_TOKEN", secrets(board)["token"])
    assert (await requests("set_gpio", "25", "1"))["status"] == "OK"
    assert (await requests("get_basic"))["gpio"]["25"] == 1
    assert (await requests("flip_gpio", "25,26"))["status"] == "OK"
    assert (await requests("get_basic"))["gpio"]["26"] == 1
    board.world("climate", '{"temperature": 21.5, "humidity": 40.2}')
    assert await requests("get_dht22", "13") == {"temp": 21.5, "humidity": 40.2}
    board.world("pins", '{"34": 1000}')
    assert (await requests("read_adc", "34", "--power_pin", "26", "--samples", "3"))["data"] == [1000.0]
    assert "cannot be switched" in await requests("set_gpio", "6", "1", code=1)
    assert (await requests("set_host", "127.0.0.1"))["status"] == "OK"


async def test_the_client_of_boards_understands_every_answer_of_a_lamp(boards: Boards) -> None:
    board = boards(token="the-token")
    board.power_on()
    lamp = await Pages(board).ready()

    def ask() -> None:
        info = identify(lamp.host)
        assert (info.id, info.f, info.kind, info.chip) == ("3c71bff93720", 113.0, "lamp", "ESP32")
        assert (info.name, info.firmware, info.provision) == ("lamp-3720", "0.1.0", False)
        assert set(info.gpio.values()) <= {0, 1}
        client = Client(address=lamp.host, id=info.id, token="the-token")
        assert client.get_basic() == info
        client.set_gpio([25, 26], 1)
        client.flip_gpio(26)
        assert {pin: client.get_basic().gpio[pin] for pin in (25, 26)} == {25: 1, 26: 0}
        assert client.read_adc(34, samples=2).ticks_us is not None
        with pytest.raises(BoardRefusedError, match="no dht22 answers at pin 13"):
            client.get_dht22(13)
        with pytest.raises(BoardRefusedError, match="wants another token"):
            Client(address=lamp.host, token="wrong").set_gpio(25, 0)

    await asyncio.to_thread(ask)

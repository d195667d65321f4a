"""The examples do what their first lines say."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

from tests.conftest import wait_until
from tests.firmware.boards import Board
from tests.firmware.conftest import ROOT
from tests.firmware.servers import TEXT, Peer, frame, serving
from tests.firmware.together import Boards, together

EXAMPLES = ROOT / "esp32" / "examples"


@together
async def test_simple_prints_what_it_hears_and_comes_back(boards: Boards) -> None:
    visits = 0

    async def server(peer: Peer) -> None:
        nonlocal visits
        visits += 1
        await peer.upgrade()
        await peer.send(frame(TEXT, f"visit {visits}".encode()))
        await asyncio.sleep(0.1)

    async with serving(server) as gateway:
        board = boards(EXAMPLES / "simple.py", gateway=f"{gateway.url}/any/path")
        board.power_on()
        await board.line("heard: visit 1")
        await board.line("heard: visit 2")


def hurried(board: Board, name: str) -> Path:
    """Return an example that reports ten times as often."""
    text = (EXAMPLES / name).read_text()
    assert "REPORT_MS = 10_000" in text
    shutil.copy(EXAMPLES / "conversation.py", board.folder)
    (board.folder / name).write_text(text.replace("REPORT_MS = 10_000", "REPORT_MS = 1_000"))
    return board.folder / name


@together
async def test_advanced_switches_reads_reports_and_cries_out(boards: Boards) -> None:
    said: list[dict[str, Any]] = []
    conversations: list[Peer] = []

    async def server(peer: Peer) -> None:
        await peer.upgrade()
        conversations.append(peer)
        while True:
            opcode, data = await peer.frame()
            assert opcode == TEXT
            said.append(json.loads(data))

    async def asks(message: str, answer: dict[str, Any]) -> None:
        await conversations[0].say(message)
        await wait_until(lambda: answer in said)
        said.remove(answer)

    async def pin(number: int, value: int) -> None:
        await wait_until(lambda: board.last(f"@pin {number} ").startswith(f"@pin {number} {value} "))

    async with serving(server) as gateway:
        board = boards(gateway=gateway.url, gpio=[25, 26], sensor={"kind": "dht22", "pin": 13})
        board.script = hurried(board, "advanced.py")
        board.world("climate", '{"temperature": 31.5, "humidity": 40.0}')
        board.power_on()
        await wait_until(lambda: conversations)
        for nonsense in ("hello", "{", "[]", "7", '{"type":"led_status"}'):
            await conversations[0].say(nonsense)
        await asks('{"type":"led_control","action":"on"}', {"type": "led_status", "state": True})
        await pin(25, 1)
        await asks('{"type":"led_control","action":"toggle"}', {"type": "led_status", "state": False})
        await asks('{"action":"lights_on"}', {"type": "led_status", "state": True})
        await asks('{"led":"off"}', {"type": "led_status", "state": False})
        await asks('{"device":"relay","state":1}', {"type": "relay_status", "state": True})
        await pin(25, 0)
        await pin(26, 1)
        await asks("READ_SENSOR", {"sensor": 31.5})
        await conversations[0].say('{"type":"ping"}')
        await wait_until(lambda: [one for one in said if one.get("type") == "pong"])
        await wait_until(lambda: {"type": "alert", "sensor": 31.5} in said)
        status = next(one for one in said if one.get("type") == "status")
        assert status["uptime_ms"] >= 1_000
        assert status["heap_bytes"] > 0


@together
async def test_sos_is_a_lamp_that_blinks_and_tells(boards: Boards) -> None:
    told: list[dict[str, Any]] = []

    async def server(peer: Peer) -> None:
        await peer.welcome()
        levels = asyncio.create_task(peer.levels(0))
        try:
            told.append(await peer.hear("event"))
        finally:
            levels.cancel()

    async with serving(server) as gateway:
        board = boards(EXAMPLES / "sos.py", gateway=gateway.url, gpio=[25])
        board.power_on()
        await wait_until(lambda: told)
        await board.line("light: level")
        await wait_until(lambda: len([line for line in board.lines if line.startswith("@pin 25 ")]) >= 18)
    assert told == [{"type": "event", "name": "SOS", "round": 1}]
    blinks = [line.split() for line in board.lines if line.startswith("@pin 25 ")]
    flashes = [int(off[3]) - int(on[3]) for on, off in zip(blinks[::2], blinks[1::2], strict=False)][:9]
    assert [round(flash / 200) for flash in flashes] == [1, 1, 1, 2, 2, 2, 1, 1, 1]

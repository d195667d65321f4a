"""Boards of S3: known by address or token, asked whether they live, with a LED that can be switched."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any

from websockets.exceptions import ConnectionClosed

from espfleet.domain.devices import Presence
from espfleet.store import commands, presence, readings
from tests.conftest import wait_until
from tests.gateway.conftest import QUICK, Dialect, Fleet, Gateway, Lamp, Start, dialled, running

BOARD: dict[str, Any] = {"dialect": Dialect.BOARDS, "address": "127.0.0.1"}


async def obey(board: Lamp) -> None:
    """Do what S3's advanced example does: answer pings with the time, switch the LED and tell it."""
    led = False
    await board.socket.send(json.dumps({"type": "status", "device": "ESP32", "led_state": led, "ip": "192.0.2.5"}))
    with contextlib.suppress(ConnectionClosed):
        async for text in board.socket:
            if text == "READ_SENSOR":
                await board.socket.send(json.dumps({"sensor": 1234}))
                continue
            told = json.loads(text)
            if told["type"] == "ping":
                await board.socket.send(json.dumps({"type": "pong", "timestamp": time.time()}))
            elif told["type"] == "led_control":
                led = {"on": True, "off": False, "toggle": not led}[told["action"]]
                await board.socket.send(json.dumps({"type": "led_status", "state": led}))


async def tell(fleet: Fleet, device_id: str, action: str, **arguments: Any) -> dict[str, Any]:
    answer = await commands.send(fleet.store, device_id, {"action": action, "arguments": arguments})
    assert answer is not None
    return answer


def becomes(fleet: Fleet, device_id: str, wanted: Presence) -> Callable[[], Awaitable[bool]]:
    async def look() -> bool:
        return (await presence.read_presence(fleet.store, [device_id]))[device_id].presence is wanted

    return look


async def test_it_is_greeted_as_by_its_test_server(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("shed", **BOARD)
    async with dialled(gateway, "/ws") as board:
        told = await board.receive()
        assert abs(told.pop("timestamp") - time.time()) < 60
        assert told == {"type": "welcome", "message": "Welcome, shed"}


async def test_its_led_is_switched_and_what_it_answers_is_told(fleet: Fleet, gateway: Gateway) -> None:
    device, _ = await fleet.add("shed", **BOARD)
    async with dialled(gateway, "/ws") as board, running(obey(board)):
        await wait_until(becomes(fleet, device.id, Presence.LIVE))
        for value, state in ((1, True), (0, False), (2, True)):
            answer = await tell(fleet, device.id, "gpio", pin=2, value=value)
            assert (answer["ok"], answer["data"]) == (True, {"state": state})
        assert (await tell(fleet, device.id, "sensor"))["data"] == {"sensor": 1234}
        assert (await tell(fleet, device.id, "reboot"))["error"] == "shed speaks boards, which has no command for that"


async def test_it_stays_live_by_answering_pings_and_is_late_when_it_does_not(fleet: Fleet, start: Start) -> None:
    gateway = await start(**{**QUICK, "watchdog_ms": 1_500})
    device, token = await fleet.add("shed", dialect=Dialect.BOARDS)
    async with dialled(gateway, f"/ws?token={token}") as board:
        async with running(obey(board)):
            await asyncio.sleep(2.0)
            assert await becomes(fleet, device.id, Presence.LIVE)()
        await wait_until(becomes(fleet, device.id, Presence.OFFLINE))
        async with running(obey(board)):
            await wait_until(becomes(fleet, device.id, Presence.LIVE))


async def test_numbers_of_its_status_are_readings(fleet: Fleet, gateway: Gateway) -> None:
    device, _ = await fleet.add("shed", **BOARD)
    async with dialled(gateway, "/ws") as board:
        await board.until(type="welcome")
        await board.socket.send('{"uptime": 3600, "heap": 81920}')
        await board.socket.send('{"type": "status", "device": "ESP32", "led_state": true, "ip": "192.0.2.5"}')

        async def read() -> bool:
            found = {name: reading.value for name, reading in (await readings.get(fleet.store, device.id)).items()}
            return found == {"uptime": 3600.0, "heap": 81920.0, "led_state": 1.0}

        await wait_until(read)


async def test_an_alert_is_an_event_for_viewers(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("shed", **BOARD)
    async with dialled(gateway, "/watch") as viewer, dialled(gateway, "/ws") as board:
        await viewer.send("watch", devices="*")
        await viewer.until(type="presence", presence="live")
        await board.socket.send('{"type": "alert", "message": "door open"}')
        told = await viewer.until(type="event")
        assert (told["event"], told["fields"]) == ("alert", {"message": "door open"})


async def test_what_means_nothing_is_ignored(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("shed", **BOARD)
    async with dialled(gateway, "/ws") as board:
        await board.until(type="welcome")
        for text in ("hello", "[]", "{", '{"type": 5}', '{"type": "a b"}', "[" * 3_000, '{"x": 1e999}', "{}"):
            await board.socket.send(text)
        assert (await board.until(type="ping"))["type"] == "ping"

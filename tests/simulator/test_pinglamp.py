from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from espfleet.simulator.pinglamp import Ear, PingLamp, pinglamp_url
from espfleet.simulator.session import monotonic_ms
from tests.conftest import wait_until


def level(value: Any) -> str:
    return json.dumps({"timestamp": "2025-11-20T20:20:00.123000+00:00", "server_mono_ts": 1.5, "level": value})


def test_it_shows_the_level_as_it_is_while_levels_come() -> None:
    ear = Ear(0)
    assert ear.shown(50) is None
    for at in range(100, 1_600, 100):
        ear.hear(level(25), at)
    assert ear.shown(1_550) == 25


def test_silence_adds_five_points_for_each_usual_gap() -> None:
    ear = Ear(0)
    for at in range(100, 1_700, 100):
        ear.hear(level(20), at)
    assert [ear.shown(1_600 + silence) for silence in (80, 109, 112, 500, 2_000)] == [20, 20, 25, 45, 100]


def test_at_fifty_a_second_silence_shows_within_a_tenth_of_a_second() -> None:
    ear = Ear(0)
    for at in range(50, 1_000, 50):
        ear.hear(level(0), at)
    assert ear.shown(950 + 81) == 8
    assert ear.shown(950 + 500) == 50


@pytest.mark.parametrize("value", ["red", None, True, [], 101, -1])
def test_a_message_without_a_usable_level_still_counts_as_heard(value: Any) -> None:
    ear = Ear(0)
    ear.hear(level(30), 100)
    ear.hear(level(value), 200)
    ear.hear("no JSON", 300)
    assert ear.shown(350) == 30


class Server:
    """What PING_LAMP's server is to its lamps: levels for whoever connects."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.heard: list[Any] = []
        self.connections: list[ServerConnection] = []
        self.port = 0

    async def visit(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        self.connections.append(connection)
        with suppress(ConnectionClosed):
            await connection.send(level(75))
            async for text in connection:
                self.heard.append(text)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    async with serve(found.visit, "127.0.0.1", 0, compression=None, close_timeout=0.5) as running:
        found.port = running.sockets[0].getsockname()[1]
        yield found


@pytest.fixture
async def lamp(server: Server) -> AsyncIterator[PingLamp]:
    found = PingLamp(f"ws://127.0.0.1:{server.port}/?token=t", clock=monotonic_ms)
    task = asyncio.create_task(found.run())
    yield found
    task.cancel()
    await asyncio.wait({task})


async def test_it_sends_nothing_but_keepalives_and_shows_what_it_hears(server: Server, lamp: PingLamp) -> None:
    await wait_until(lambda: lamp.level is not None)
    assert server.paths == ["/?token=t"]
    await wait_until(lambda: len(server.heard) >= 3)
    assert set(server.heard) == {'{"type":"keepalive"}'}
    await server.connections[0].send(level(100))
    await wait_until(lambda: lamp.view().level == 100)
    assert lamp.view().channels == (0, 0, 1)
    assert lamp.view().link == "connected"


async def test_it_comes_back_after_a_second_and_starts_anew(server: Server, lamp: PingLamp) -> None:
    await wait_until(lambda: lamp.level is not None)
    server.connections[0].transport.abort()
    await wait_until(lambda: lamp.level is None)
    assert lamp.view().word == "no gateway"
    await wait_until(lambda: len(server.paths) == 2)
    await wait_until(lambda: lamp.level is not None)


async def test_a_closing_word_is_told(server: Server, lamp: PingLamp) -> None:
    await wait_until(lambda: lamp.level is not None)
    await server.connections[0].close(4004, "not registered")
    await wait_until(lambda: "4004" in lamp.view().why)


def test_its_colours_are_those_of_ping_lamp() -> None:
    lamp = PingLamp("ws://127.0.0.1:9", clock=lambda: 0.0)
    shown = {}
    for value in (0, 25, 50, 75, 90, 100):
        lamp._ear = Ear(0)
        lamp._ear.hear(level(value), 0)
        shown[value] = tuple(round(channel * 255) for channel in lamp.view().channels)
    assert shown == {
        0: (255, 0, 0),
        25: (127, 127, 0),
        50: (0, 255, 0),
        75: (0, 127, 127),
        90: (0, 50, 204),
        100: (0, 0, 255),
    }


def test_it_connects_anywhere_but_at_the_path_of_protocol_1() -> None:
    assert pinglamp_url("ws://127.0.0.1:5678/lamp", "a/b=") == "ws://127.0.0.1:5678/?token=a%2Fb%3D"

"""PING_LAMP clients (S1) work unchanged: no hello, keepalives only, a level each tick."""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import statistics
import time
from typing import Any

from espfleet.domain.devices import Dialect, Presence
from espfleet.store import commands, presence
from tests.conftest import wait_until
from tests.gateway.conftest import SEEN_LATE, Fleet, Gateway, Start, dialled, running

HERE: dict[str, Any] = {"dialect": Dialect.PINGLAMP, "address": "127.0.0.1"}


async def test_a_client_known_by_its_address_sees_what_ping_lamp_sent(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        text = await lamp.socket.recv()
        assert isinstance(text, str)
        message = json.loads(text)
        assert list(message) == ["timestamp", "server_mono_ts", "level"]
        assert text == json.dumps(message)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", message["timestamp"])
        assert isinstance(message["server_mono_ts"], float)
        assert message["level"] == 10


async def test_a_level_comes_each_tick_whether_it_changed_or_not(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        await lamp.receive()
        times_s = []
        for _ in range(21):
            await lamp.receive()
            times_s.append(time.monotonic())
        gaps_s = [after - before for before, after in itertools.pairwise(times_s)]
        assert 0.04 < statistics.mean(gaps_s) < 0.07


async def test_a_change_is_seen_with_the_next_tick(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", **HERE)
    async with dialled(gateway, "/any/path") as lamp:
        await lamp.receive()
        await fleet.publish(93)
        assert (await lamp.until(2, level=93))["level"] == 93


async def test_unknown_is_shown_as_50(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", room=None, **HERE)
    async with dialled(gateway, "") as lamp:
        assert (await lamp.receive())["level"] == 50


async def test_whatever_it_says_beside_keepalives_is_ignored(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        for text in ('{"type": "keepalive"}', '{"type":"keepalive"}', "{", "[]", "5", '{"type":"hello"}', "[" * 3_000):
            await lamp.socket.send(text)
            assert (await lamp.receive())["level"] == 10


async def test_the_watchdog_pauses_sending_and_the_next_keepalive_resumes_it(fleet: Fleet, start: Start) -> None:
    gateway = await start(**SEEN_LATE)
    device, _ = await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        await lamp.quiet()

        async def offline() -> bool:
            known = await presence.read_presence(fleet.store, [device.id])
            return known[device.id].presence is Presence.OFFLINE

        await wait_until(offline)
        await lamp.socket.send('{"type": "keepalive"}')
        assert (await lamp.receive())["level"] == 10
        assert lamp.socket.protocol.close_rcvd is None
        async with running(lamp.keep_alive()):
            await asyncio.sleep(0.5)
            # For as long as it is said to be alive.
            assert not await offline()


async def test_a_client_nobody_registered_is_sent_away(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("porch", address="127.0.0.1")
    async with dialled(gateway, "") as lamp:
        assert await lamp.closed() == (
            4004,
            "no device with address 127.0.0.1 that speaks pinglamp or boards is registered",
        )


async def test_a_second_device_with_its_address_ends_a_session_that_is_known_by_it(
    fleet: Fleet, gateway: Gateway
) -> None:
    await fleet.add("old-1", 1, **HERE)
    async with dialled(gateway, "") as lamp:
        await lamp.receive()
        await fleet.add("old-2", 2, **HERE)
        assert await lamp.closed() == (4001, "2 devices have address 127.0.0.1: add ?token= to the URL")


async def test_two_clients_with_one_address_are_told_apart_by_token(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"attic": "lan"}, ["lan"])
    await fleet.publish(70, "lan")
    _, first = await fleet.add("old-1", 1, **HERE)
    _, second = await fleet.add("old-2", 2, room="attic", **HERE)
    async with dialled(gateway, "") as lamp:
        assert await lamp.closed() == (4001, "2 devices have address 127.0.0.1: add ?token= to the URL")
    async with dialled(gateway, f"/?token={first}") as one, dialled(gateway, f"/x?a=b&token={second}") as two:
        assert (await one.receive())["level"] == 10
        await two.until(level=70)


async def test_a_wrong_token_is_refused_even_from_a_known_address(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("old", **HERE)
    _, other = await fleet.add("porch", 2)
    for token in ("x", other):
        async with dialled(gateway, f"/?token={token}") as lamp:
            assert await lamp.closed() == (4001, "this is not the token of a device that speaks pinglamp or boards")


async def test_an_address_that_is_changed_ends_the_session(fleet: Fleet, gateway: Gateway) -> None:
    device, _ = await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        await lamp.receive()
        await fleet.put(device, address="192.0.2.7")
        assert await lamp.closed() == (
            4004,
            "no device with address 127.0.0.1 that speaks pinglamp or boards is registered",
        )


async def test_a_command_to_it_is_answered_by_the_gateway(fleet: Fleet, gateway: Gateway) -> None:
    device, _ = await fleet.add("old", **HERE)
    async with dialled(gateway, "") as lamp:
        await lamp.receive()
        result = await commands.send(fleet.store, device.id, {"action": "identify"})
        assert result is not None
        assert (result["ok"], result["error"]) == (False, "old speaks pinglamp, which has no command for that")

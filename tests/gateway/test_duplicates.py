"""Two sessions of one device: the newer one stays only if the older one is dead."""

from __future__ import annotations

import asyncio
import json
import time

from espfleet.domain.devices import Presence
from espfleet.gateway.server import Limits
from espfleet.store import presence
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Start, lamp_of, running
from tests.gateway.raw import mute, raw
from tests.own_time import calm_s


async def test_a_living_session_is_kept_and_the_newcomer_sent_away(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as older:
        await older.receive()
        async with lamp_of(gateway, device, token) as newer:
            assert await newer.closed() == (4002, "another session of this device is alive")
        assert (await older.receive())["type"] == "level"


async def test_a_dead_session_is_replaced_within_a_second(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        begun_s, calm_since_s = time.monotonic(), calm_s()
        async with lamp_of(gateway, device, token) as newer:
            assert (await newer.receive())["type"] == "welcome"
            assert time.monotonic() - begun_s > 0.9
            assert calm_s() - calm_since_s < 2
            assert (await older.control()).opcode == 9
            told = await older.control()
            assert (told.close_code, told.close_reason) == (4002, "replaced by a newer session of this device")
            assert (await newer.receive())["type"] == "level"

            async def live() -> bool:
                known = await presence.read_presence(fleet.store, [device.id])
                return known[device.id].presence is Presence.LIVE

            await wait_until(live)


async def test_a_session_that_ends_meanwhile_makes_room_at_once(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(ping_ms=30_000))
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        async with lamp_of(gateway, device, token) as newer:
            assert (await older.control()).opcode == 9
            older.writer.transport.abort()
            assert (await newer.receive(20))["type"] == "welcome"


async def test_of_several_newcomers_the_last_one_comes_in(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        async with lamp_of(gateway, device, token) as second:
            assert (await older.control()).opcode == 9
            async with lamp_of(gateway, device, token) as third:
                assert (await second.closed())[0] == 4002
                assert (await third.receive())["type"] == "welcome"


async def test_a_newcomer_that_gives_up_leaves_the_older_session_alone(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        async with lamp_of(gateway, device, token):
            assert (await older.control()).opcode == 9
        await asyncio.sleep(1.5)
        assert json.loads((await older.frame()).payload)["type"] == "level"


async def test_a_newcomer_whose_token_is_revoked_while_it_waits_is_sent_away(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(ping_ms=700))
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        async with lamp_of(gateway, device, token) as newer:
            assert (await older.control()).opcode == 9
            await fleet.put(device, token_hashes=())
            assert (await newer.closed())[0] == 4001


async def test_a_dead_session_at_another_gateway_is_ended(fleet: Fleet, gateway: Gateway, start: Start) -> None:
    second = await start(name="second")
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as older:
        await mute(older, device, token)
        async with lamp_of(second, device, token) as newer:
            assert (await newer.receive())["type"] == "welcome"
            async with running(newer.keep_alive()):
                assert (await older.control()).opcode == 9
                assert (await older.control()).close_code == 4002
            known = (await presence.read_presence(fleet.store, [device.id]))[device.id]
            assert (known.presence, known.gateway) == (Presence.LIVE, "second")


async def test_a_living_session_at_another_gateway_stays_and_the_newcomer_is_sent_away(
    fleet: Fleet, gateway: Gateway, start: Start
) -> None:
    second = await start(name="second")
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as older:
        await older.receive()
        async with lamp_of(second, device, token) as newer:
            assert (await newer.receive())["type"] == "welcome"
            assert await newer.closed() == (4002, "another session of this device is alive")
        assert (await older.receive())["type"] == "level"

        async def here() -> bool:
            known = (await presence.read_presence(fleet.store, [device.id]))[device.id]
            return (known.presence, known.gateway) == (Presence.LIVE, "gateway")

        await wait_until(here)

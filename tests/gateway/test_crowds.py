"""Many clients, bad neighbours, storms, and the end: nobody suffers from others."""

from __future__ import annotations

import asyncio
import json
import statistics
from contextlib import AsyncExitStack

from espfleet.domain.closing import retry_after_ms
from espfleet.domain.devices import Device, Presence, Reason
from espfleet.gateway.hand_over import spread
from espfleet.gateway.server import Limits
from espfleet.store import presence, workers
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, Start, dialled, lamp_of, running
from tests.gateway.raw import TEXT, frame, mute, raw
from tests.own_time import own_s, promised


async def open_lamps(stack: AsyncExitStack, fleet: Fleet, gateway: Gateway, count: int) -> list[Lamp]:
    """Return lamps that have been welcomed."""
    devices = await fleet.add_many(count)
    lamps = [await stack.enter_async_context(lamp_of(gateway, *device)) for device in devices]
    for lamp in lamps:
        assert (await lamp.receive())["type"] == "welcome"
    return lamps


async def test_a_client_that_never_reads_is_cut_and_fifty_others_are_served_on_time(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(blocked_ms=1_000, linger_ms=200), period_ms=50, lease_ms=150)
    async with AsyncExitStack() as stack:
        lamps = await open_lamps(stack, fleet, gateway, 50)
        device, token = await fleet.add("stuck", 1_000)
        stuck = await stack.enter_async_context(raw(gateway.port, takes_bytes=2_304))
        await mute(stuck, device, token)
        stuck.deaf()
        keepers = [await stack.enter_async_context(running(lamp.keep_alive(0.5))) for lamp in lamps]
        assert len(keepers) == 50

        async def keep_stuck_alive() -> None:
            while True:
                stuck.writer.write(frame(TEXT, b'{"type":"keepalive"}'))
                await asyncio.sleep(0.3)

        await stack.enter_async_context(running(keep_stuck_alive()))

        async def cut() -> bool:
            known = (await presence.read_presence(fleet.store, [device.id]))[device.id]
            return known.reason is Reason.SLOW

        gaps_s: list[float] = []

        async def watch(lamp: Lamp) -> None:
            last_s = own_s()
            while True:
                await lamp.receive()
                now_s = own_s()
                gaps_s.append(now_s - last_s)
                last_s = now_s

        for lamp in lamps:
            await stack.enter_async_context(running(watch(lamp)))
        await wait_until(cut)
        assert len(gaps_s) > 1_000
        assert statistics.median(gaps_s) < 0.15


async def test_a_lamp_that_reads_again_gets_the_newest_level_soon(fleet: Fleet, start: Start) -> None:
    gateway = await start(period_ms=2, lease_ms=1_000)
    device, token = await fleet.add("porch")
    other, other_token = await fleet.add("roof", 2)
    async with raw(gateway.port, takes_bytes=2_304) as link, lamp_of(gateway, other, other_token) as served:
        await mute(link, device, token)
        link.deaf()
        for _ in range(600):
            await served.receive()
        seq = await fleet.publish(88)
        await served.until(level=88)
        link.hear()
        behind = 0
        while json.loads((await link.frame()).payload)["seq"] != seq:
            behind += 1
        # Of 600 levels it missed, it gets those that the kernel held, and the newest.
        assert behind < 300


async def test_a_storm_of_five_hundred_is_let_in_while_others_are_served(fleet: Fleet, start: Start) -> None:
    # On a busy machine their hellos take long too, which come from this process.
    gateway = await start(Limits(linger_ms=500, hello_ms=60_000), period_ms=200, lease_ms=60_000)
    device, token = await fleet.add("porch", 1_000_000)
    devices = await fleet.add_many(500)
    async with AsyncExitStack() as stack:
        served = await stack.enter_async_context(lamp_of(gateway, device, token))
        await served.until(type="level")
        gaps_s: list[float] = []

        async def watch() -> None:
            last_s = own_s()
            while True:
                await served.receive()
                gaps_s.append(own_s() - last_s)
                last_s = own_s()

        async def come(device: Device, token: str) -> float:
            begun_s = own_s()
            lamp = await stack.enter_async_context(dialled(gateway, open_timeout=60))
            # One that reads no more would not hear the answer to its end, and wait for it: five hundred in turn.
            stack.callback(lamp.socket.transport.abort)
            await lamp.send("hello", protocol=1, id=device.id, token=token)
            assert (await lamp.receive(60))["type"] == "welcome"
            return own_s() - begun_s

        async with running(served.keep_alive()), running(watch()):
            waits_s = await asyncio.gather(*(come(*one) for one in devices))
        assert max(waits_s) < 10
        assert statistics.median(gaps_s) < 1

        async def all_live() -> bool:
            known = await presence.read_presence(fleet.store, [device.id for device, _ in devices])
            return all(one.presence is Presence.LIVE for one in known.values())

        await wait_until(all_live, timeout_s=45.0)


async def test_when_it_stops_everybody_is_told_when_to_come_back(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with AsyncExitStack() as stack:
        lamps = await open_lamps(stack, fleet, gateway, 20)
        guest = await stack.enter_async_context(dialled(gateway))
        viewer = await stack.enter_async_context(dialled(gateway, "/watch"))
        await viewer.send("watch", rooms="*")
        await viewer.receive()
        with promised(2):
            await asyncio.gather(gateway.stop(), *(lamp.closed() for lamp in [*lamps, guest, viewer]))
        told = [lamp.socket.protocol.close_rcvd for lamp in [*lamps, guest, viewer]]
        waits_ms = [retry_after_ms(one.reason) for one in told if one is not None and one.code == 1012]
        assert len(waits_ms) == 22
        assert len(set(waits_ms[:20])) == 20
        assert await workers.alive(fleet.store, "gateway") == {}
        known = await presence.read_presence(fleet.store, [f"{number:012x}" for number in range(20)])
        assert {(one.presence, one.reason) for one in known.values()} == {(Presence.OFFLINE, Reason.GATEWAY)}


async def test_it_stops_in_time_though_clients_do_not_leave(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with raw(gateway.port) as first, raw(gateway.port) as second:
        await first.upgrade()
        first.deaf()
        await second.write(b"GET /lamp HTTP/1.1\r\n")
        with promised(2):
            await gateway.stop()


def test_those_who_come_back_are_spread_over_the_time_it_takes_to_serve_them() -> None:
    assert spread(0) == []
    assert spread(1) == [500]
    waits_ms = spread(10_000)
    assert waits_ms == sorted(waits_ms)
    assert (waits_ms[0], waits_ms[-1]) == (500, 10_499)

"""A gateway that is told to stop hands its lamps over, and nobody who looks at a lamp or at the fleet sees it."""

from __future__ import annotations

import asyncio

from espfleet.domain.devices import Presence
from espfleet.domain.light import Word
from espfleet.simulator.specs import LampSpec
from espfleet.store import events, presence, workers
from espfleet.store.presence import PresenceInfo
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start, running
from tests.simulator.conftest import running as simulated

LAMPS = 40
#: What a lamp shows, and who is there, lasts for longer than a busy machine keeps everybody waiting.
LASTING = {"period_ms": 6_000, "lease_ms": 18_000, "watchdog_ms": 18_000}


async def test_lamps_that_are_handed_over_show_their_level_all_the_time(fleet: Fleet, start: Start) -> None:
    first = await start(name="first", port=0, share_port=True, drain_ms=5_000, **LASTING)
    devices = await fleet.add_many(LAMPS)
    lamps = [LampSpec(id=device.id, name=device.name, token=token) for device, token in devices]
    async with simulated(lamps, first.url) as simulator:

        def words() -> set[Word]:
            return {simulator.look(lamp.id).word for lamp in lamps}

        async def absent() -> list[PresenceInfo]:
            known = await presence.read_presence(fleet.store, [lamp.id for lamp in lamps])
            return [info for info in known.values() if info.presence is not Presence.LIVE]

        async def all_there() -> bool:
            return not await absent()

        await wait_until(lambda: words() == {Word.LEVEL})
        # A lamp is shown its level before it is written down that it came.
        await wait_until(all_there)
        seen: set[Word] = set()
        missed: list[PresenceInfo] = []

        async def look() -> None:
            while True:
                seen.update(words())
                missed.extend(await absent())
                await asyncio.sleep(0.02)

        async with running(look()):
            await start(name="second", port=first.port, share_port=True, **LASTING)
            told_before = await events.latest(fleet.store, 1)
            await first.stop()
            await wait_until(lambda: moved(fleet, LAMPS))
        assert seen == {Word.LEVEL}
        assert missed == []
        told = await events.read(fleet.store, told_before[0].event_id, 1_000)
        assert not [event for event in told if event.fields.get("presence") == "offline"]


async def moved(fleet: Fleet, count: int) -> bool:
    known = await workers.alive(fleet.store, "gateway")
    return {name: info["lamps"] for name, info in known.items()} == {"second": count}


async def test_two_gateways_share_one_port_and_the_lamps(fleet: Fleet, start: Start) -> None:
    first = await start(name="first", share_port=True)
    await start(name="second", port=first.port, share_port=True)
    devices = await fleet.add_many(LAMPS)
    lamps = [LampSpec(id=device.id, name=device.name, token=token) for device, token in devices]
    async with simulated(lamps, first.url):

        async def shared() -> bool:
            known = await workers.alive(fleet.store, "gateway")
            counts = [info["lamps"] for info in known.values()]
            return len(counts) == 2 and sum(counts) == LAMPS and min(counts) > 0

        await wait_until(shared)


async def test_lamps_that_no_other_gateway_takes_are_offline_when_their_time_is_out(fleet: Fleet, start: Start) -> None:
    leaving = await start(name="leaving", watchdog_ms=300, keepalive_ms=50, drain_ms=2_000)
    device, token = await fleet.add("porch")
    async with simulated([LampSpec(id=device.id, name="porch", token=token)], leaving.url) as simulator:
        await wait_until(lambda: simulator.look(device.id).word == Word.LEVEL)
        await leaving.stop()

        async def offline() -> bool:
            known = (await presence.read_presence(fleet.store, [device.id]))[device.id]
            return known.presence is Presence.OFFLINE

        await wait_until(offline)

"""A gateway that is told to stop hands its lamps over, and nobody who looks at a lamp or at the fleet sees it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from espfleet.domain.closing import restart_reason
from espfleet.domain.devices import Presence
from espfleet.domain.light import Word
from espfleet.simulator.session import monotonic_ms
from espfleet.simulator.specs import LampSpec
from espfleet.store import events, presence, workers
from espfleet.store.presence import PresenceInfo
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start, running
from tests.own_time import own_ms
from tests.simulator.conftest import running as simulated

LAMPS = 40
#: Who is there, and whose levels are fresh, stands in Redis, whose clock goes on while a busy machine keeps these tests
#: waiting. What a lamp shows lasts as long as it does at home, by a clock that leaves such waiting out.
LASTING_MS = 18_000
LASTING = {"watchdog_ms": LASTING_MS}
#: A lamp is late after 750 ms.
WAITING_MS = 1_500


@pytest.fixture(autouse=True)
def lasting_beats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.store.levels.BEAT_TTL_MS", LASTING_MS)
    monkeypatch.setattr("espfleet.gateway.levels.FRESH_S", LASTING_MS / 1_000)


async def test_lamps_that_are_handed_over_show_their_level_all_the_time(fleet: Fleet, start: Start) -> None:
    first = await start(name="first", port=0, share_port=True, drain_ms=5_000, **LASTING)
    devices = await fleet.add_many(LAMPS)
    lamps = [LampSpec(id=device.id, name=device.name, token=token) for device, token in devices]
    missed: list[PresenceInfo] = []

    async def hand_over() -> None:
        await start(name="second", port=first.port, share_port=True, **LASTING)
        await first.stop()
        await wait_until(lambda: moved(fleet, LAMPS))

    async def absent() -> list[PresenceInfo]:
        known = await presence.read_presence(fleet.store, [lamp.id for lamp in lamps])
        return [info for info in known.values() if info.presence is not Presence.LIVE]

    async def all_there() -> bool:
        # A lamp is shown its level before it is written down that it came.
        return not await absent()

    async def look_for_absent() -> None:
        while True:
            missed.extend(await absent())
            await asyncio.sleep(0.02)

    async def watched_hand_over() -> None:
        await wait_until(all_there)
        told_before = await events.latest(fleet.store, 1)
        async with running(look_for_absent()):
            await hand_over()
        told = await events.read(fleet.store, told_before[0].event_id, 1_000)
        assert not [event for event in told if event.fields.get("presence") == "offline"]

    assert await seen_during(watched_hand_over, lamps, first.url) == {Word.LEVEL}
    assert missed == []


async def test_a_hand_over_that_lets_lamps_wait_is_noticed(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await start(name="first", port=0, share_port=True, drain_ms=5_000, **LASTING)
    lamps = [LampSpec(id=device.id, name=device.name, token=token) for device, token in await fleet.add_many(4)]

    async def hand_over() -> None:
        await start(name="second", port=first.port, share_port=True, **LASTING)
        monkeypatch.setattr("espfleet.gateway.hub.restart_reason", lambda _: restart_reason(WAITING_MS))
        await first.stop()
        await wait_until(lambda: moved(fleet, 4))

    # They wait by the usual clock.
    assert Word.LATE in await seen_during(hand_over, lamps, first.url, monotonic_ms)


async def test_lamps_stay_where_they_are_while_no_other_gateway_takes_them(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.hand_over.MOST_UNDER_WAY", 2)
    first = await start(name="first", port=0, share_port=True, drain_ms=60_000, **LASTING)
    devices = await fleet.add_many(LAMPS)
    lamps = [LampSpec(id=device.id, name=device.name, token=token) for device, token in devices]

    async def at_first() -> int:
        return int((await workers.alive(fleet.store, "gateway")).get("first", {"lamps": 0})["lamps"])

    async def all_are_here() -> bool:
        return await at_first() == LAMPS

    async def some_have_gone() -> bool:
        return not await all_are_here()

    async with simulated(lamps, first.url) as simulator:
        await wait_until(lambda: {simulator.look(lamp.id).word for lamp in lamps} == {Word.LEVEL})
        await wait_until(all_are_here)
        stopping = asyncio.create_task(first.stop())
        await wait_until(some_have_gone)
        # Each second two or three more are no longer waited for.
        assert await at_first() > LAMPS / 2
        await start(name="second", port=first.port, share_port=True, **LASTING)
        await wait_until(lambda: moved(fleet, LAMPS), timeout_s=30)
        await stopping


async def seen_during(
    what: Callable[[], Awaitable[None]], lamps: list[LampSpec], url: str, clock: Callable[[], float] = own_ms
) -> set[str]:
    """Return all that lamps show while something happens, from when all of them have shown their level."""
    async with simulated(lamps, url, clock=clock) as simulator:

        def words() -> set[str]:
            return {simulator.look(lamp.id).word for lamp in lamps}

        await wait_until(lambda: words() == {Word.LEVEL})
        seen: set[str] = set()

        async def look() -> None:
            while True:
                seen.update(words())
                await asyncio.sleep(0.02)

        async with running(look()):
            await what()
        return seen


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

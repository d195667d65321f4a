"""Swarms of lamps on the real gateway: they do what the script says, and what a gateway tells them."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any

import pytest

from espfleet.domain.devices import Device, Presence, Reason
from espfleet.domain.names import SIMULATED
from espfleet.domain.tokens import hash_token
from espfleet.gateway.channels import Channel
from espfleet.gateway.server import Limits
from espfleet.services import device_tokens, simulated
from espfleet.simulator.swarm import wires
from espfleet.simulator.swarm.play import play
from espfleet.simulator.swarm.script import Step, read
from espfleet.simulator.swarm.states import Glow, Part
from espfleet.simulator.swarm.swarm import Share, Swarm, Who
from espfleet.store import commands, presence, readings, registry
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start
from tests.gateway.test_tls import contexts as contexts
from tests.simulator.conftest import FakeGateway

#: So many that they are a crowd, and so few that tests stay cheap.
CROWD = 200
#: Short times for tests that wait for the watchdog; few messages, for many lamps send them.
SHORT: dict[str, Any] = {"watchdog_ms": 900, "period_ms": 200, "lease_ms": 600, "keepalive_ms": 300}


@asynccontextmanager
async def swarming(fleet: Fleet, url: str, count: int = CROWD, **options: Any) -> AsyncIterator[Swarm]:
    """Register lamps in the room ``hall`` and make a swarm of them; none has arrived."""
    who = Who(count)
    await simulated.enlist(fleet.store, [device_of(who, number) for number in range(count)])
    swarm = Swarm(who, url, **options)
    try:
        yield swarm
    finally:
        swarm.close()


def device_of(who: Who, number: int) -> Device:
    return Device(
        id=who.id_of(number),
        name=who.name_of(number),
        room="hall",
        labels=(SIMULATED,),
        token_hashes=(hash_token(who.token_of(number)),),
    )


@asynccontextmanager
async def playing(swarm: Swarm, fleet: Fleet, *lines: str) -> AsyncIterator[list[tuple[str, int]]]:
    """Play a script meanwhile; yield what it tells."""
    told: list[tuple[str, int]] = []

    async def move(ids: Sequence[str], room: str) -> None:
        await simulated.move(fleet.store, ids, room)

    def tell(step: Step, lamps: int) -> None:
        told.append((step.line, lamps))

    task = asyncio.create_task(play(read("\n".join(lines), swarm.who.count), swarm, move, tell))
    try:
        yield told
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.result()


async def all_told(swarm: Swarm, fleet: Fleet, count: int, wanted: Presence, reason: Reason | None = None) -> None:
    """Wait until the fleet believes so many lamps to be so."""
    ids = [swarm.id_of(lamp.number) for lamp in swarm.lamps]

    async def told() -> bool:
        found = await presence.read_presence(fleet.store, ids)
        return sum(info.presence is wanted and info.reason is reason for info in found.values()) == count

    await wait_until(told)


async def test_a_crowd_arrives_shows_its_level_and_says_goodbye(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with swarming(fleet, gateway.url) as swarm, playing(swarm, fleet, "at 0s arrive all over 500ms") as told:
        await wait_until(lambda: swarm.connected() == CROWD)
        assert swarm.glows() == {Glow.GREEN: CROWD}
        await fleet.publish(95)
        await wait_until(lambda: swarm.glows() == {Glow.RED: CROWD})
        report = swarm.figures.report(at_s=1.0, connected=CROWD, glows=swarm.glows(), busy=0.0)
        assert report.changes == CROWD
        assert report.delay is not None
        assert 0 < report.delay.p50_ms < 5_000
        assert (report.failed, report.reconnects) == (0, 0)
        await all_told(swarm, fleet, CROWD, Presence.LIVE)
        await swarm.goodbye()
        assert swarm.glows() == {Glow.DARK: CROWD}
        await all_told(swarm, fleet, CROWD, Presence.OFFLINE, Reason.CLOSED)
        assert told == [("at 0s arrive all over 500ms", CROWD)]


async def test_a_level_is_made_once_for_a_crowd_and_no_lamp_has_a_task_or_a_timer_of_its_own(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []
    show = Channel.show

    def note(channel: Channel, frame: bytes) -> None:
        made.append(frame)
        show(channel, frame)

    monkeypatch.setattr(Channel, "show", note)
    gateway = await start(period_ms=60_000, lease_ms=120_000)
    async with swarming(fleet, gateway.url) as swarm:

        def at_work() -> int:
            """Return how many tasks there are, and timers that have not been taken back."""
            timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
            return len(asyncio.all_tasks()) + sum(not timer.cancelled() for timer in timers)

        before = at_work()
        async with playing(swarm, fleet, "at 0s arrive all"):
            await wait_until(lambda: swarm.connected() == CROWD)
            await wait_until(lambda: at_work() < before + CROWD / 10)
            made.clear()
            await fleet.publish(95)
            await wait_until(lambda: swarm.glows() == {Glow.RED: CROWD})
            assert len([frame for frame in made if b'"level":95' in frame.replace(b" ", b"")]) == 1


async def test_lamps_without_power_are_missed_and_come_back(fleet: Fleet, start: Start) -> None:
    gateway = await start(**SHORT)
    async with swarming(fleet, gateway.url, 40) as swarm:
        async with playing(swarm, fleet, "at 0s arrive all"):
            await wait_until(lambda: swarm.connected() == 40)
        async with playing(swarm, fleet, "at 0s die 10"):
            await all_told(swarm, fleet, 10, Presence.OFFLINE, Reason.SILENT)
            assert swarm.connected() == 30
            assert swarm.glows()[Glow.DARK] == 10
        async with playing(swarm, fleet, "at 0s return all"):
            # The gateway still believes in their former connections until these do not answer.
            await wait_until(lambda: swarm.connected() == 40)
            await all_told(swarm, fleet, 40, Presence.LIVE)


async def test_frozen_lamps_are_offline_until_they_thaw(fleet: Fleet, start: Start) -> None:
    gateway = await start(**SHORT)
    async with swarming(fleet, gateway.url, 40) as swarm:
        async with playing(swarm, fleet, "at 0s arrive all"):
            await wait_until(lambda: swarm.connected() == 40)
        async with playing(swarm, fleet, "at 0s freeze 15"):
            await all_told(swarm, fleet, 15, Presence.OFFLINE, Reason.SILENT)
            # It sends them nothing more, so what they show is over.
            await wait_until(lambda: swarm.glows()[Glow.STALE] == 15)
        async with playing(swarm, fleet, "at 0s thaw all"):
            await wait_until(lambda: swarm.glows() == {Glow.GREEN: 40})


async def test_a_room_of_lamps_is_moved_and_shows_what_the_other_room_watches(fleet: Fleet, start: Start) -> None:
    await fleet.set_up({"hall": "wan", "lab": "lan"}, ("wan", "lan"))
    await fleet.publish(95, "lan")
    gateway = await start()
    lines = "at 0s arrive all", "at 1s move 50 to room lab"
    async with swarming(fleet, gateway.url) as swarm, playing(swarm, fleet, *lines):
        await wait_until(lambda: swarm.glows() == {Glow.GREEN: CROWD - 50, Glow.RED: 50})


async def test_lamps_of_a_restarting_gateway_return_when_they_are_told(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with swarming(fleet, gateway.url) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.connected() == CROWD)
        await gateway.stop()
        await wait_until(lambda: not swarm.connected())
        assert swarm.figures.endings["the gateway closed the connection (1012: restarting)"] == CROWD
        await start(port=gateway.port)
        await wait_until(lambda: swarm.connected() == CROWD)
        report = swarm.figures.report(at_s=1.0, connected=CROWD, glows={}, busy=0.0)
        assert report.refused == report.reconnects == CROWD


async def test_those_who_come_too_fast_return_in_their_second(fleet: Fleet, start: Start) -> None:
    gateway = await start(limits=Limits(connects_per_s=20))
    async with swarming(fleet, gateway.url, 60) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.connected() == 60)
        assert swarm.figures.endings["the gateway answered HTTP 503"] > 0


async def test_a_lamp_that_is_not_wanted_tries_seldom(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with swarming(fleet, gateway.url, 2) as swarm:
        strange = Who(2)
        swarm.token_of = lambda number: strange.token_of(number) if number else swarm.who.token_of(number)
        async with playing(swarm, fleet, "at 0s arrive all"):
            refused = "the gateway does not accept the token (4001: this is not a token)"
            await wait_until(lambda: swarm.figures.endings[refused] == 1)
            await wait_until(lambda: swarm.connected() == 1)
            await fleet.change(Change("devices", swarm.id_of(0), None))
            await wait_until(lambda: not swarm.connected())
            assert swarm.figures.endings["the lamp is not registered (4004: is not registered any more)"] == 1
        now_ms = swarm.now_ms()
        assert all(lamp.due * 20 - now_ms > 20_000 for lamp in swarm.lamps)


async def test_a_lamp_that_was_handed_another_token_comes_back_with_it(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    async with swarming(fleet, gateway.url, 2) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.connected() == 2)
        device_id, old = swarm.id_of(0), swarm.token_of(0)
        await all_told(swarm, fleet, 2, Presence.LIVE)
        await device_tokens.rotate(fleet.store, name=device_id, now_ms=1)
        new = swarm.token_of(0)
        assert new != old
        assert swarm.connected() == 2
        lamp = swarm.lamps[0]
        lamp.leave()
        await wait_until(lambda: swarm.connected() == 1)
        lamp.arrive()

        async def settled() -> bool:
            return (await registry.load(fleet.store)).device(device_id).token_hashes == (hash_token(new),)

        await wait_until(settled)
        await wait_until(lambda: swarm.connected() == 2)


async def test_lamps_answer_commands_and_pings_and_report(fleet: Fleet, start: Start, gateway: FakeGateway) -> None:
    real = await start()
    async with swarming(fleet, real.url, 1) as swarm:
        swarm.readings_ms = 500
        async with playing(swarm, fleet, "at 0s arrive all"):
            await wait_until(lambda: swarm.connected() == 1)
            lamp = swarm.id_of(0)
            answer = await commands.send(fleet.store, lamp, {"action": "identify", "for_ms": 500})
            assert answer is not None
            assert answer["data"] == {"for_ms": 500}
            refused = await commands.send(fleet.store, lamp, {"action": "gpio", "pin": 4})
            assert refused is not None
            assert refused["error"] == "a lamp of a load test knows only identify, reboot, settings"

            async def reported() -> bool:
                return {"temperature_c", "shown", "heap_bytes"} <= set(await readings.get(fleet.store, lamp))

            await wait_until(reported)
            before = swarm.figures.report(at_s=0.0, connected=1, glows={}, busy=0.0).reconnects
            await commands.send(fleet.store, lamp, {"action": "reboot"})
            await wait_until(
                lambda: swarm.figures.report(at_s=0.0, connected=1, glows={}, busy=0.0).reconnects > before, 10
            )
    async with swarming(fleet, gateway.url, 1) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.connected() == 1)
        pong = await gateway.lamps[swarm.id_of(0)].ping()
        await asyncio.wait_for(pong, 30)
        hello = gateway.hellos[0]
        assert (hello.chip, hello.capabilities) == ("simulated", ("identify", "reboot", "settings"))


async def test_a_gateway_that_falls_silent_is_left(fleet: Fleet, gateway: FakeGateway) -> None:
    gateway.period_ms = 100
    async with swarming(fleet, gateway.url, 3) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.figures.endings["the gateway fell silent"] == 3)


@pytest.mark.package("openssl")
async def test_lamps_check_the_certificate_of_a_gateway_with_tls(
    fleet: Fleet, start: Start, contexts: tuple[SSLContext, SSLContext]
) -> None:
    server, client = contexts
    gateway = await start(tls=server)
    url = gateway.url.replace("ws:", "wss:")
    arrive = "at 0s arrive all"
    trusting = swarming(fleet, url, 20, tls=client)
    async with trusting as swarm, playing(swarm, fleet, arrive):
        await wait_until(lambda: swarm.connected() == 20)
        await fleet.publish(95)
        await wait_until(lambda: swarm.glows() == {Glow.RED: 20})
        await swarm.goodbye()
    async with swarming(fleet, url, 2, tls=ssl.create_default_context()) as swarm, playing(swarm, fleet, arrive):
        untrusted = "the gateway cannot be reached (CERTIFICATE_VERIFY_FAILED)"
        await wait_until(lambda: swarm.figures.endings[untrusted] >= 2)


async def test_a_gateway_sees_lamps_come_from_several_addresses(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wires, "LAMPS_A_SOURCE", 10)
    gateway = await start()
    async with swarming(fleet, gateway.url, 30) as swarm, playing(swarm, fleet, "at 0s arrive all"):
        await wait_until(lambda: swarm.connected() == 30)

        async def peers() -> set[str]:
            found = await presence.read_presence(fleet.store, [swarm.id_of(number) for number in range(30)])
            return {info.peer for info in found.values()}

        async def three() -> bool:
            return await peers() == {"127.0.1.1", "127.0.2.1", "127.0.3.1"}

        await wait_until(three)


async def parts(fleet: Fleet, gateway: FakeGateway, who: Who, share: Share, *lines: str) -> dict[int, Part]:
    """Play a script, and return what it makes of each lamp that runs here."""
    swarm = Swarm(who, gateway.url, share=share)
    try:
        async with playing(swarm, fleet, *lines) as told:
            await wait_until(lambda: len(told) == len(lines))
            await asyncio.sleep(0)
            return {lamp.number: lamp.part for lamp in swarm.lamps}
    finally:
        swarm.close()


async def test_the_same_seed_chooses_the_same_lamps_and_another_one_others(fleet: Fleet, gateway: FakeGateway) -> None:
    async def dead(seed: int) -> list[int]:
        found = await parts(fleet, gateway, Who(50, seed=seed), Share(), "at 0s arrive 40", "at 0s die 10")
        assert all(found[number] is Part.AWAITED for number in range(40, 50))
        return [number for number, part in found.items() if part is Part.DEAD]

    first = await dead(1)
    assert len(first) == 10
    assert first == await dead(1) != await dead(2)


async def test_processes_that_share_a_test_choose_the_same_lamps_and_run_each_its_own(
    fleet: Fleet, gateway: FakeGateway
) -> None:
    lines = "at 0s arrive 40", "at 0s die 10", "at 0s return 4", "at 0s freeze 5"
    who = Who(50)
    whole = await parts(fleet, gateway, who, Share(), *lines)
    assert Counter(whole.values()) == {Part.THERE: 29, Part.FROZEN: 5, Part.DEAD: 6, Part.AWAITED: 10}
    shares = [await parts(fleet, gateway, who, Share(number, 3), *lines) for number in range(3)]
    assert [len(share) for share in shares] == [17, 17, 16]
    assert shares[0] | shares[1] | shares[2] == whole
    assert await parts(fleet, gateway, who, Share(of=0), *lines) == {}


async def test_a_script_loops_until_it_is_ended_and_takes_no_more_lamps_than_there_are(
    fleet: Fleet, gateway: FakeGateway
) -> None:
    async with swarming(fleet, gateway.url, 6) as swarm:
        lines = ["at 0s arrive 4", "at 100ms leave 5", "at 200ms return all", "at 300ms loop from 50ms"]
        async with playing(swarm, fleet, *lines) as told:
            await wait_until(lambda: len(told) >= 8)
        assert [lamps for _, lamps in told[:8]] == [4, 4, 4, 0, 4, 4, 0, 4]
        async with playing(swarm, fleet, "at 50ms arrive 2 over 10s", "at 100ms end") as told:
            await wait_until(lambda: len(told) == 2)

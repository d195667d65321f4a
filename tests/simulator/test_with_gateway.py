"""Simulated lamps on the real gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from espfleet.domain.devices import Dialect, Presence, Reason
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.domain.light import Link, Word
from espfleet.domain.sensors import new_sensor
from espfleet.domain.states import State
from espfleet.domain.tokens import hash_token
from espfleet.errors import RefusedError
from espfleet.services import boards, device_tokens, jobs
from espfleet.simulator.pinglamp import PingLamp, pinglamp_url
from espfleet.simulator.session import monotonic_ms
from espfleet.simulator.specs import LampSpec
from espfleet.store import commands, presence, readings, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change
from espfleet.workers.keeper import Keeper
from tests.conftest import wait_until
from tests.gateway.conftest import QUICK, Fleet, Start
from tests.simulator.conftest import running


async def spec_of(fleet: Fleet, name: str = "porch", number: int = 1) -> LampSpec:
    """Register a device and return the lamp that is it."""
    device, token = await fleet.add(name, number)
    return LampSpec(id=device.id, name="nameless", token=token)


async def presence_of(fleet: Fleet, lamp: LampSpec) -> tuple[Presence, Reason | None]:
    found = (await presence.read_presence(fleet.store, [lamp.id]))[lamp.id]
    return found.presence, found.reason


async def test_a_lamp_shows_the_level_of_its_room_and_follows_it(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).word == Word.LEVEL)
        view = simulator.look(lamp.id)
        assert (view.name, view.room, view.group, view.level) == ("porch", "hall", "wan", 10)
        await fleet.publish(95)
        await wait_until(lambda: simulator.look(lamp.id).level == 95)
        await fleet.publish(state=State.UNKNOWN, level=50)
        await wait_until(lambda: simulator.look(lamp.id).word == Word.UNKNOWN)


async def test_no_lamp_is_green_when_nobody_measures_any_more(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.levels.FRESH_S", 3.0)
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).level == 10)
        fleet.beating = set()
        await wait_until(lambda: simulator.look(lamp.id).word == Word.UNKNOWN)
        await wait_until(lambda: simulator.look(lamp.id).channels.green < 0.01)


async def test_commands_reach_a_lamp_and_its_answer_comes_back(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        answer = await commands.send(fleet.store, lamp.id, {"action": "identify", "for_ms": 60_000})
        assert answer is not None
        assert answer["ok"] is True
        assert answer["data"] == {"for_ms": 60_000}
        await wait_until(lambda: simulator.look(lamp.id).word == Word.IDENTIFY)
        refused = await commands.send(fleet.store, lamp.id, {"action": "dance"})
        assert refused is not None
        assert "cannot do 'dance'" in refused["error"]


async def test_a_lamp_that_was_handed_another_token_comes_back_with_it_and_the_old_one_ends(
    fleet: Fleet, start: Start
) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    kept: list[LampSpec] = []

    async def hashes() -> tuple[str, ...]:
        return (await registry.load(fleet.store)).device(lamp.id).token_hashes

    async def live() -> bool:
        return await presence_of(fleet, lamp) == (Presence.LIVE, None)

    async with running([lamp], gateway.url, provisioned=kept.append) as simulator:
        await wait_until(live)
        await device_tokens.rotate(fleet.store, name="porch", now_ms=1)
        assert simulator.look(lamp.id).link == Link.CONNECTED
        new = kept[-1].token
        assert new is not None
        assert await hashes() == (hash_token(str(lamp.token)), hash_token(new))
        simulator.cut(lamp.id)
        await wait_until(lambda: simulator.look(lamp.id).link == Link.NO_GATEWAY)
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)

        async def settled() -> bool:
            return await hashes() == (hash_token(new),)

        await wait_until(settled)
    # A process that did not keep it is not let in any more.
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: "does not accept the token" in simulator.look(lamp.id).why)
    async with running([kept[-1]], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)


async def test_readings_of_a_lamp_are_kept(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url, readings_ms=100):

        async def kept() -> bool:
            return {"temperature_c", "rssi_dbm"} <= set(await readings.get(fleet.store, lamp.id))

        await wait_until(kept)


async def test_a_frozen_lamp_is_offline_and_shows_the_present_level_when_it_thaws(fleet: Fleet, start: Start) -> None:
    gateway = await start(**QUICK)
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:

        async def live() -> bool:
            return await presence_of(fleet, lamp) == (Presence.LIVE, None)

        async def offline() -> bool:
            return await presence_of(fleet, lamp) == (Presence.OFFLINE, Reason.SILENT)

        await wait_until(live)
        simulator.freeze(lamp.id)
        await wait_until(offline)
        await wait_until(lambda: simulator.look(lamp.id).word == Word.STALE)
        await fleet.publish(70)
        simulator.thaw(lamp.id)
        await wait_until(live)
        await wait_until(lambda: simulator.look(lamp.id).level == 70)


async def test_a_cut_lamp_comes_back_by_itself(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        simulator.cut(lamp.id)
        await wait_until(lambda: simulator.look(lamp.id).link == Link.NO_GATEWAY)
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)


async def test_a_wrong_token_and_a_missing_registration_are_told_apart(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    stranger = LampSpec(id="0" * 11 + "9", name="stranger", token="t")
    async with running([replace(lamp, token="wrong"), stranger], gateway.url) as simulator:
        await wait_until(lambda: "the gateway does not accept the token (4001" in simulator.look(lamp.id).why)
        await wait_until(lambda: "the lamp is not registered (4004" in simulator.look("stranger").why)


async def test_an_unregistered_lamp_is_sent_away_and_opens_for_another_token(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        await fleet.change(Change("devices", lamp.id, None))
        await wait_until(lambda: "4004" in simulator.look("porch").why)


async def test_a_stopping_gateway_says_when_to_come_back(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        await gateway.stop()
        await wait_until(lambda: "(1012: restarting; retry_after_ms=" in simulator.look(lamp.id).why)
        await start(port=gateway.port)
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)


async def test_a_ping_lamp_is_served_as_it_always_was(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    _, token = await fleet.add("porch", dialect=Dialect.PINGLAMP)
    lamp = PingLamp(pinglamp_url(gateway.url, token), clock=monotonic_ms)
    task = asyncio.create_task(lamp.run())
    try:
        await wait_until(lambda: lamp.level == 10)
        await fleet.publish(80)
        await wait_until(lambda: lamp.level == 80)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_a_job_sets_a_pin_over_the_link_and_again_after_a_reset(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    job = Job(device_id=lamp.id, name="fan", pin=22, kind=JobKind.TIMER, duration_s=DAY_S)
    await jobs.add(fleet.store, job)
    async with running([lamp], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        current = await registry.load(fleet.store)
        device = current.devices[lamp.id]
        await wait_until(lambda: boards.on_link(fleet.store, device))
        for expected in ({22: 1}, {}):
            done = await boards.set_right(fleet.store, current, device, now_ms=1_800_000_000_000)
            assert (done.gpio, done.switched) == ({22: 1}, expected)
        reset = await commands.send(fleet.store, lamp.id, {"action": "gpio", "arguments": {"pin": 22, "value": 0}})
        assert reset is not None
        assert reset["data"] == {"pin": 22, "value": 0}
        done = await boards.set_right(fleet.store, current, device, now_ms=1_800_000_000_000)
        assert done.switched == {22: 1}


async def test_sensors_of_a_lamp_are_read_over_the_link_at_their_intervals(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    for sensor in (
        new_sensor(device_id=lamp.id, name="air", kind="dht22", pin=4, interval_s=1),
        new_sensor(device_id=lamp.id, name="soil", kind="adc", pin=34, interval_s=3_600, power_pin=25),
    ):
        await jobs.add_sensor(fleet.store, sensor)
    visits: list[boards.Visit] = []
    async with running([lamp], gateway.url) as simulator, keeping(fleet.store, visits):
        await wait_until(lambda: simulator.look(lamp.id).link == Link.CONNECTED)
        await wait_until(lambda: sum("air.temp" in visit.values for visit in visits) >= 3)
        found = await readings.get(fleet.store, lamp.id)
    assert sum("soil.raw" in visit.values for visit in visits) == 1
    assert 18 <= found["air.temp"].value <= 24
    assert 40 <= found["air.humidity"].value <= 60
    assert 1_500 <= found["soil.raw"].value <= 2_500


async def test_a_sensor_that_a_lamp_has_not_is_told_and_the_others_are_read(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    lamp = await spec_of(fleet)
    for name, pin in (("air", 4), ("none", 5)):
        await jobs.add_sensor(fleet.store, new_sensor(device_id=lamp.id, name=name, kind="dht22", pin=pin))
    current = await registry.load(fleet.store)
    device = current.devices[lamp.id]
    async with running([lamp], gateway.url):
        await wait_until(lambda: boards.on_link(fleet.store, device))
        done = await boards.set_right(fleet.store, current, device, now_ms=1_800_000_000_000)
        assert set(done.values) == {"air.temp", "air.humidity"}
        assert set(done.trouble) == {"none"}
        assert "no DHT22 answers at pin 5" in done.trouble["none"]
        await jobs.remove_sensor(fleet.store, device="porch", name="air")
        with pytest.raises(RefusedError, match="no DHT22 answers at pin 5"):
            await boards.set_right(fleet.store, await registry.load(fleet.store), device, now_ms=1_800_000_000_000)


@asynccontextmanager
async def keeping(store: Store, visits: list[boards.Visit]) -> AsyncIterator[None]:
    """Let a keeper visit devices every 300 ms."""
    keeper = Keeper(store, "k1", interval_s=0.3, tell=lambda _current, _device, visit: visits.append(visit))

    async def run() -> None:
        while True:
            await keeper.step()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await keeper.close()

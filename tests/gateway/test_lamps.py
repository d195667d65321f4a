"""What a lamp of protocol 1 sees: its welcome, levels, and what happens when somebody changes something about it."""

from __future__ import annotations

import asyncio
import time

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.rooms import Room
from espfleet.domain.states import State
from espfleet.domain.tokens import hash_token, new_token
from espfleet.store import events, presence, readings
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import QUICK, SEEN_LATE, SOON_LATE, USUAL, Fleet, Gateway, Start, lamp_of, running
from tests.own_time import calm_s


async def test_the_welcome_carries_everything_and_the_present_level(fleet: Fleet, start: Start) -> None:
    device, token = await fleet.add("porch", brightness=80)
    seq = await fleet.publish(37)
    gateway = await start(**USUAL)
    async with lamp_of(gateway, device, token) as lamp:
        welcome = await lamp.receive()
        assert welcome.pop("time_ms") > 1_700_000_000_000
        assert welcome.pop("timestamp").endswith("+00:00")
        assert welcome.pop("server_mono_ts") > 0
        assert welcome == {
            "type": "welcome",
            "name": "porch",
            "room": "hall",
            "group": "wan",
            "brightness": 80,
            "keepalive_ms": 1_000,
            "watchdog_ms": 3_000,
            "period_ms": 500,
            "lease_ms": 1_500,
            "level": 37,
            "state": "ok",
            "seq": seq,
        }


async def test_a_level_that_changes_is_shown_at_once(fleet: Fleet, start: Start) -> None:
    gateway = await start(period_ms=60_000, lease_ms=60_000)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        seqs = []
        for level in (20, 90, 55):
            begun_s = time.monotonic()
            await fleet.publish(level)
            message = await lamp.receive()
            assert (message["type"], message["level"], message["lease_ms"]) == ("level", level, 60_000)
            # The next one would come after a minute.
            assert time.monotonic() - begun_s < 20
            seqs.append(message["seq"])
        assert seqs == sorted(set(seqs))


async def test_a_level_that_stays_is_shown_each_period(fleet: Fleet, start: Start) -> None:
    gateway = await start(period_ms=50)
    device, token = await fleet.add("porch")
    begun_s = time.monotonic()
    async with lamp_of(gateway, device, token) as lamp:
        welcome = await lamp.receive()
        calm_since_s = calm_s()
        for _ in range(20):
            message = await lamp.receive()
            assert (message["level"], message["seq"]) == (10, welcome["seq"])
        assert time.monotonic() - begun_s > 0.8
        assert calm_s() - calm_since_s < 2.5


async def test_each_room_sees_its_own_group(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"attic": "lan"}, ["lan"])
    hall, attic = await fleet.add("porch", 1), await fleet.add("roof", 2, room="attic")
    await fleet.publish(70, "lan")
    async with lamp_of(gateway, *hall) as porch, lamp_of(gateway, *attic) as roof:
        assert (await porch.receive())["level"] == 10
        assert (await roof.receive())["level"] == 70
        await fleet.publish(75, "lan")
        await roof.until(level=75)
        assert (await porch.receive())["level"] == 10


async def test_a_lamp_without_a_group_is_shown_that_nothing_is_known(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"cellar": None, "attic": "gone"}, [])
    for number, room in enumerate(["cellar", "attic", None], 1):
        device, token = await fleet.add(f"lamp-{number}", number, room=room)
        async with lamp_of(gateway, device, token) as lamp:
            welcome = await lamp.receive()
            assert (welcome["state"], welcome["level"], welcome["room"]) == ("unknown", 50, room)


async def test_other_states_than_ok_reach_the_lamp(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    await fleet.publish(50, state=State.PAUSED)
    async with lamp_of(gateway, device, token) as lamp:
        assert (await lamp.receive())["state"] == "paused"


async def test_a_lamp_that_is_moved_is_welcomed_again_with_its_new_group(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"attic": "lan"}, ["lan"])
    await fleet.publish(70, "lan")
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await fleet.put(device, room="attic", name="roof")
        moved = await lamp.until(type="welcome")
        assert (moved["name"], moved["room"], moved["group"], moved["level"]) == ("roof", "attic", "lan", 70)
        await fleet.publish(99)
        await fleet.publish(71, "lan")
        assert (await lamp.receive())["level"] in (70, 71)
        await lamp.until(type="level", level=71)


async def test_a_room_that_watches_another_group_moves_its_lamps(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({}, ["lan"])
    await fleet.publish(70, "lan")
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await fleet.change(Change("rooms", "hall", Room(name="hall", group="lan", brightness=30).to_dict()))
        moved = await lamp.until(type="welcome")
        assert (moved["group"], moved["level"], moved["brightness"]) == ("lan", 70, 30)


async def test_a_change_that_does_not_concern_a_lamp_is_not_told_to_it(fleet: Fleet, start: Start) -> None:
    gateway = await start(period_ms=60_000, lease_ms=60_000)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        other, other_token = await fleet.add("roof", 2)
        async with lamp_of(gateway, other, other_token) as newcomer:
            await newcomer.receive()
            await fleet.publish(11)
            types = {(await lamp.receive())["type"] for _ in range(1)}
            assert types == {"level"}


async def test_a_lamp_that_is_unregistered_is_sent_away(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await fleet.change(Change("devices", device.id, None))
        assert await lamp.closed() == (4004, "porch is not registered any more")


async def test_a_token_that_is_revoked_ends_the_session_and_a_rotated_one_does_not(
    fleet: Fleet, gateway: Gateway
) -> None:
    device, token = await fleet.add("porch")
    newer = new_token()
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        both = (*device.token_hashes, hash_token(newer))
        await fleet.put(device, token_hashes=both, name="still-here")
        await lamp.until(type="welcome", name="still-here")
        await fleet.put(device, token_hashes=both[1:], name="still-here")
        assert (await lamp.closed())[0] == 4001
    async with lamp_of(gateway, device, newer) as lamp:
        assert (await lamp.receive())["type"] == "welcome"


async def test_presence_follows_a_lamp_that_comes_and_goes(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")

    async def told() -> presence.PresenceInfo:
        return (await presence.read_presence(fleet.store, [device.id]))[device.id]

    async def live() -> bool:
        return (await told()).presence is Presence.LIVE

    assert (await told()).reason is Reason.NEVER
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await wait_until(live)
        assert (await told()).gateway == "gateway"
        assert (await told()).peer == "127.0.0.1"

    async def gone() -> bool:
        return (await told()).presence is Presence.OFFLINE

    await wait_until(gone)
    assert (await told()).reason is Reason.CLOSED


async def test_a_silent_lamp_becomes_late_then_offline_and_is_back_with_its_next_keepalive(
    fleet: Fleet, start: Start
) -> None:
    gateway = await start(**SEEN_LATE)
    device, token = await fleet.add("porch")

    async def presence_is(expected: Presence) -> bool:
        return (await presence.read_presence(fleet.store, [device.id]))[device.id].presence is expected

    async def events_told() -> list[tuple[str | None, str | None]]:
        found = await events.read(fleet.store)
        return [(one.fields["presence"], one.fields["reason"]) for one in found if one.kind == presence.EVENT]

    async def ends_live() -> bool:
        return (await events_told())[-1] == ("live", None)

    async with lamp_of(gateway, device, token) as lamp:
        async with running(lamp.keep_alive()):
            await asyncio.sleep(0.5)
            assert await presence_is(Presence.LIVE)
        await wait_until(lambda: presence_is(Presence.LATE))
        await wait_until(lambda: presence_is(Presence.OFFLINE))
        known = (await presence.read_presence(fleet.store, [device.id]))[device.id]
        assert known.reason is Reason.SILENT

        # Sending is paused: what was sent before is read, and then nothing comes.
        await lamp.quiet()
        seq = await fleet.publish(66)
        await lamp.send("keepalive")
        assert (await lamp.until(type="level", level=66))["seq"] == seq
        async with running(lamp.keep_alive()):
            await wait_until(lambda: presence_is(Presence.LIVE))
            # While it is here, for a busy machine may take long to let it go; events are told after presence.
            await wait_until(ends_live)

    told = await events_told()
    assert told[0] == ("live", None)
    assert ("late", "silent") in told


async def test_a_lamp_that_stays_silent_is_closed_after_ten_watchdogs(fleet: Fleet, start: Start) -> None:
    gateway = await start(**{**QUICK, "watchdog_ms": 100})
    device, token = await fleet.add("porch")
    begun_s = time.monotonic()
    async with lamp_of(gateway, device, token) as lamp:
        assert await lamp.closed() == (1001, "silent for 1 s")
        assert time.monotonic() - begun_s > 0.9


async def test_a_lamp_moved_while_it_was_late_is_welcomed_when_it_is_back(fleet: Fleet, start: Start) -> None:
    gateway = await start(**SOON_LATE)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:

        async def late() -> bool:
            # By now it may be offline; the connection stays.
            return (await presence.read_presence(fleet.store, [device.id]))[device.id].reason is Reason.SILENT

        await lamp.receive()
        await wait_until(late)
        await fleet.put(device, name="roof")
        await asyncio.sleep(0.5)
        await lamp.send("keepalive")
        assert (await lamp.until(type="welcome"))["name"] == "roof"


async def test_what_a_lamp_reports_is_kept(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        await lamp.send("keepalive", rssi_dbm=-61)
        await lamp.send("readings", values={"temperature_c": 21.5}, at_ms=1_763_670_000_123)
        await lamp.send("event", name="button", pressed=True)

        async def kept() -> dict[str, float]:
            found = await readings.get(fleet.store, device.id)
            return {name: reading.value for name, reading in found.items()}

        async def complete() -> bool:
            return await kept() == {"rssi_dbm": -61.0, "temperature_c": 21.5}

        await wait_until(complete)

        async def told() -> list[dict[str, object]]:
            found = [dict(event.fields) for event in await events.read(fleet.store) if event.kind == "device"]
            return [{"device": one["device"], "event": one["event"], "fields": one["fields"]} for one in found]

        async def recorded() -> bool:
            return await told() == [{"device": device.id, "event": "button", "fields": {"pressed": True}}]

        await wait_until(recorded)

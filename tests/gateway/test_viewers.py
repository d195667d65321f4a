"""Viewers see what they ask for, and nothing else; who asks for more than there is, or reads nothing, is sent away."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from espfleet.domain.shards import shard_of
from espfleet.domain.tokens import hash_token, new_token
from espfleet.gateway.server import Limits
from espfleet.store import presence, readings
from espfleet.store.client import Store
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, Start, dialled, lamp_of
from tests.gateway.raw import TEXT, frame, raw


async def watch(viewer: Lamp, **what: Any) -> None:
    await viewer.send("watch", **what)
    assert (await viewer.receive())["type"] == "watching"


async def test_a_viewer_is_told_how_things_are_and_then_what_happens(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*")
        level = await viewer.receive()
        assert (level["type"], level["group"], level["level"], level["state"]) == ("level", "wan", 10, "ok")
        there = await viewer.receive()
        assert (there["type"], there["name"], there["presence"], there["reason"]) == (
            "presence", "porch", "offline", "never seen",
        )  # fmt: skip
        async with lamp_of(gateway, device, token) as lamp:
            await viewer.until(type="presence", id=device.id, presence="live", reason="")
            await fleet.publish(77)
            assert (await viewer.until(type="level"))["level"] == 77
            await lamp.send("readings", values={"temperature_c": 21.5}, at_ms=5)
            assert (await viewer.until(type="reading"))["values"] == {"temperature_c": 21.5}
            await lamp.send("event", name="button", pressed=True)
            event = await viewer.until(type="event")
            assert (event["name"], event["event"], event["fields"]) == ("porch", "button", {"pressed": True})
        await viewer.until(type="presence", presence="offline", reason="closed")


async def test_a_viewer_hears_readings_from_lamps_at_other_gateways_and_from_boards(fleet: Fleet, start: Start) -> None:
    device, token = await fleet.add("porch")
    board, _ = await fleet.add("board", 2)
    here, there = await start(), await start(name="second")
    async with dialled(here, "/watch") as viewer, lamp_of(there, device, token) as lamp:
        await watch(viewer, devices="*")
        await lamp.send("readings", values={"temperature_c": 21.5}, at_ms=5)
        reading = await viewer.until(type="reading")
        assert (reading["name"], reading["values"], reading["at_ms"]) == ("porch", {"temperature_c": 21.5}, 5)
        await readings.report(fleet.store, board.id, {"f": 70.0}, 6)
        assert (await viewer.until(type="reading", name="board"))["values"] == {"f": 70.0}


async def test_a_viewer_sees_only_what_it_watches(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"attic": "lan"}, ["lan"])
    await fleet.publish(70, "lan")
    porch, roof, own = await fleet.add("porch", 1), await fleet.add("roof", 2, room="attic"), await fleet.add("own", 3)
    async with dialled(gateway, "/watch") as by_device, dialled(gateway, "/watch") as by_room:
        await watch(by_device, devices=["porch", own[0].id])
        await watch(by_room, rooms=["attic"])
        seen = [await by_device.receive() for _ in range(3)]
        assert {one.get("group") or one["name"] for one in seen} == {"wan", "porch", "own"}
        seen = [await by_room.receive() for _ in range(2)]
        assert {one.get("group") or one["name"] for one in seen} == {"lan", "roof"}
        async with lamp_of(gateway, *porch), lamp_of(gateway, *roof):
            assert (await by_device.receive())["name"] == "porch"
            assert (await by_room.receive())["name"] == "roof"


async def test_a_room_that_is_watched_may_change(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.set_up({"attic": "lan"}, ["lan"])
    await fleet.publish(70, "lan")
    device, _ = await fleet.add("porch")
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices=["porch"])
        await viewer.until(type="presence")
        await fleet.put(device, room="attic")
        assert (await viewer.until(type="level", group="lan"))["level"] == 70


async def test_a_device_that_is_registered_later_is_seen(fleet: Fleet, gateway: Gateway) -> None:
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*")
        for number in range(1, 4):
            device, _ = await fleet.add(f"lamp-{number}", number)
            there = await viewer.until(type="presence", id=device.id)
            assert there["reason"] == "never seen"


async def cut_feeds(store: Store) -> None:
    """Let everybody who listens to Redis have missed something."""
    where = {"target_nodes": store.redis.get_primaries()} if store.on_cluster else {}
    await store.redis.execute_command("CLIENT", "KILL", "TYPE", "pubsub", **where)


async def test_who_is_there_is_told_again_when_the_gateway_may_have_missed_it(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    other, _ = await fleet.add("attic", 2)
    async with dialled(gateway, "/watch") as viewer, lamp_of(gateway, device, token):
        await watch(viewer, devices=["porch"])
        await viewer.until(type="presence", presence="live")
        await cut_feeds(fleet.store)
        told = await viewer.receive()
        assert (told["type"], told["name"], told["presence"]) == ("presence", "porch", "live")
        assert other.id not in str(told)


async def test_who_seemed_gone_when_redis_came_back_is_told_to_be_there_after_all(
    fleet: Fleet, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_S", 1.0)
    device, _ = await fleet.add("porch")
    store, part = fleet.store, shard_of(device.id, fleet.store.shards)
    session = presence.Session(session_id="s", gateway="another", watchdog_ms=60_000)
    async with dialled(gateway, "/watch") as viewer:
        await presence.came(store, device.id, session)
        await watch(viewer, devices=["porch"])
        await viewer.until(type="presence", presence="live")
        await store.do("DEL", store.keys.alive(part, device.id))
        await cut_feeds(store)
        told = await viewer.until(type="presence", presence="offline")
        assert told["reason"] == "gateway gone"
        # Its gateway keeps it alive, as if nothing had been.
        assert await presence.refresh(store, "another", {device.id: 60_000}) == []
        await viewer.until(type="presence", presence="live")


async def test_a_level_that_stays_is_not_told_again(fleet: Fleet, gateway: Gateway) -> None:
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, rooms="*")
        assert (await viewer.receive())["level"] == 10
        await fleet.publish(11)
        assert (await viewer.receive())["level"] == 11
        await fleet.publish(11)
        await fleet.publish(12)
        assert (await viewer.receive())["level"] == 12


async def test_a_viewer_of_what_is_not_there_is_told_so(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.add("porch")
    for what, reason in (
        ({"devices": ["porhc"]}, "no device is called 'porhc'; did you mean 'porch'?"),
        ({"rooms": ["hull"]}, "no room is called 'hull'; did you mean 'hall'?"),
        ({"devices": 5}, "devices must be a list of at most 1000 names"),
    ):
        async with dialled(gateway, "/watch") as viewer:
            await viewer.send("watch", **what)
            assert await viewer.closed() == (4003, reason)


async def test_when_there_is_a_token_viewers_must_show_one(fleet: Fleet, gateway: Gateway) -> None:
    token = new_token()
    await fleet.change(Change("tokens", hash_token(token), {"name": "wall", "role": "viewer"}))
    for shown, reason in (("", "a viewer must show its token"), ("x", "this is not the token of a viewer")):
        async with dialled(gateway, "/watch") as viewer:
            await viewer.send("watch", devices="*", token=shown)
            assert await viewer.closed() == (4001, reason)
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*", token=token)
        await fleet.change(
            Change("tokens", hash_token(token), None), Change("tokens", hash_token(new_token()), {"role": "viewer"})
        )
        assert await viewer.closed() == (4001, "this token is not valid any more")


async def test_the_first_token_sends_away_those_who_came_without_one(fleet: Fleet, gateway: Gateway) -> None:
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*")
        await fleet.change(Change("tokens", hash_token(new_token()), {"role": "viewer"}))
        assert await viewer.closed() == (4001, "a viewer must show its token")


async def test_a_gateway_that_others_can_reach_lets_in_no_viewer_without_a_token(fleet: Fleet, start: Start) -> None:
    gateway = await start(host="0.0.0.0")
    async with dialled(gateway, "/watch") as viewer:
        await viewer.send("watch", devices="*")
        assert await viewer.closed() == (4001, "a viewer must show its token")


@pytest.mark.parametrize("said", ['{"type":"watch"}', '{"type":"event","name":"a"}', b"x"])
async def test_a_viewer_only_listens(fleet: Fleet, gateway: Gateway, said: str | bytes) -> None:
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*")
        await viewer.socket.send('{"type":"keepalive"}')
        await viewer.socket.send(said)
        assert (await viewer.closed())[0] == 4003


async def test_there_is_a_limit_of_viewers(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(viewers=1))
    async with dialled(gateway, "/watch") as viewer:
        await watch(viewer, devices="*")
        with pytest.raises(Exception, match="503"):
            async with dialled(gateway, "/watch"):
                pass


async def test_viewers_that_came_to_the_door_together_are_no_more_than_there_may_be(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(viewers=2, linger_ms=100))
    async with AsyncExitStack() as stack:
        viewers = [await stack.enter_async_context(dialled(gateway, "/watch")) for _ in range(4)]
        for viewer in viewers[:2]:
            await watch(viewer, devices="*")
        for viewer in viewers[2:]:
            await viewer.send("watch", devices="*")
            assert await viewer.closed() == (4008, "this gateway has as many viewers as it may have")
        await fleet.publish(13)
        assert (await viewers[0].until(type="level", level=13))["group"] == "wan"


async def test_a_viewer_that_reads_nothing_is_cut(fleet: Fleet, start: Start) -> None:
    await fleet.add_many(1_000)
    gateway = await start(Limits(blocked_ms=300, linger_ms=100))
    async with dialled(gateway, "/watch") as other, raw(gateway.port, takes_bytes=2_304) as link:
        await link.upgrade("/watch")
        link.deaf()
        await link.write(frame(TEXT, json.dumps({"type": "watch", "devices": "*"}).encode()))
        await watch(other, rooms=["hall"])
        for _ in range(1_001):
            await other.receive()
        await asyncio.sleep(1)
        link.hear()

        async def ended() -> bool:
            try:
                return not await link.reader.read(1 << 20)
            except ConnectionResetError:
                return True

        await wait_until(ended)
        await fleet.publish(12)
        assert (await other.until(type="level"))["level"] == 12

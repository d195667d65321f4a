"""What is told as it happens, and that nothing is missed without a word."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from espfleet.domain.rooms import new_room
from espfleet.domain.states import GroupLevel, State
from espfleet.store import commands, events, levels, readings, registry
from espfleet.store.client import Store, open_store
from espfleet.store.feed import (
    Beat,
    CommandSent,
    EventSent,
    Feed,
    LevelsChanged,
    ReadingsSent,
    RegistryChanged,
    Resync,
    Topic,
)
from espfleet.store.leases import Lease
from espfleet.store.readings import TOLD_AT_ONCE, Report
from espfleet.store.registry import Change
from tests.own_time import promised
from tests.store.conftest import Embedded

LEVEL = GroupLevel(group="a", level=7, state=State.OK, at_ms=1_000)


@pytest.fixture
async def feed(store: Store) -> AsyncIterator[Feed]:
    async with Feed(store, Topic, silence_s=60) as opened:
        assert await anext(opened) == Resync()
        yield opened


async def owned(store: Store, shard: int = 3) -> int:
    lease = await Lease.take(store, f"s{shard}", "ann", 60_000)
    assert lease is not None
    return lease.fence


async def test_levels_and_beats_are_told(store: Store, feed: Feed) -> None:
    fence = await owned(store)
    seq = await levels.publish(store, 3, fence, [LEVEL], 1_000)
    await levels.publish(store, 3, fence, [], 1_500)

    changed = await anext(feed)
    assert isinstance(changed, LevelsChanged)
    assert (changed.shard, changed.seq, changed.at_ms) == (3, seq, 1_000)
    assert [(level.group, level.level, level.seq) for level in changed.levels] == [("a", 7, seq)]
    assert await anext(feed) == Beat(3, seq, 1_500)


async def test_changes_of_the_registry_are_told(store: Store, feed: Feed) -> None:
    room = new_room("hall")
    after = await registry.change(store, lambda _: [Change("rooms", "hall", room.to_dict())])
    assert await anext(feed) == RegistryChanged(after.version)


async def test_readings_of_many_devices_are_told_together(store: Store, feed: Feed) -> None:
    await readings.report(store, "3c71bff93720", {"f": 70.5}, 1_000)
    told = await anext(feed)
    assert isinstance(told, ReadingsSent)
    assert told.reports == {"3c71bff93720": Report({"f": 70.5}, 1_000)}
    await readings.tell(store, {f"{number:012x}": Report({"a": number}, 1) for number in range(TOLD_AT_ONCE + 1)})
    sizes = []
    for _ in range(2):
        told = await anext(feed)
        assert isinstance(told, ReadingsSent)
        sizes.append(len(told.reports))
    assert sizes == [TOLD_AT_ONCE, 1]


@pytest.mark.parametrize("text", ["", "[]", "nonsense", '{"a": 1}', '{"a": [1]}'])
async def test_readings_that_mean_nothing_are_none(
    store: Store, feed: Feed, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    await store.do("SPUBLISH", store.keys.readings_channel(), text)
    told = await anext(feed)
    assert isinstance(told, ReadingsSent)
    assert told.reports == {}
    assert "mean nothing" in caplog.text


async def test_commands_and_events_are_told(store: Store, feed: Feed) -> None:
    sending = asyncio.create_task(commands.send(store, "3c71bff93720", {"id": "1", "action": "identify"}))
    assert await anext(feed) == CommandSent("3c71bff93720", {"id": "1", "action": "identify"})
    sending.cancel()
    await events.add(store, "hello", {"name": "porch"})
    told = await anext(feed)
    assert isinstance(told, EventSent)
    assert [told.event] == await events.latest(store)


async def test_only_what_was_asked_for_is_told(store: Store) -> None:
    async with Feed(store, [Topic.REGISTRY], silence_s=60) as feed:
        assert await anext(feed) == Resync()
        await events.add(store, "hello", {})
        after = await registry.change(store, lambda _: [Change("rooms", "hall", new_room("hall").to_dict())])
        assert await anext(feed) == RegistryChanged(after.version)


@pytest.mark.single
async def test_fleets_in_different_databases_do_not_hear_each_other(store: Store) -> None:
    async with open_store(f"{store.url}?db=1", name="other") as other, Feed(store, Topic, silence_s=60) as feed:
        assert await anext(feed) == Resync()
        await events.add(other, "of the other fleet", {})
        await events.add(store, "of this fleet", {})
        told = await anext(feed)
        assert isinstance(told, EventSent)
        assert told.event.kind == "of this fleet"


async def test_nothing_between_resync_and_the_first_message_is_missed(store: Store) -> None:
    fence = await owned(store)
    for number in range(30):
        async with Feed(store, [Topic.LEVELS], silence_s=60) as feed:
            await anext(feed)
            await levels.publish(store, 3, fence, [LEVEL], number)
            told = await asyncio.wait_for(anext(feed), 30.0)
            assert isinstance(told, LevelsChanged)
            assert told.at_ms == number


async def test_a_missed_publication_is_noticed_by_its_number(store: Store, feed: Feed) -> None:
    fence = await owned(store)
    await levels.publish(store, 3, fence, [LEVEL], 1_000)
    assert isinstance(await anext(feed), LevelsChanged)
    await store.redis.incr(store.keys.seq(3))
    await levels.publish(store, 3, fence, [], 1_001)
    assert await anext(feed) == Resync()
    assert isinstance(await anext(feed), Beat)
    await store.redis.incr(store.keys.seq(3))
    await levels.publish(store, 3, fence, [LEVEL], 1_002)
    assert await anext(feed) == Resync()
    assert isinstance(await anext(feed), LevelsChanged)


@pytest.mark.single
async def test_what_means_nothing_is_passed_over(store: Store, feed: Feed, caplog: pytest.LogCaptureFixture) -> None:
    for nonsense in (b"", b"\xff", b"[]", b"{}", b"7"):
        await store.do("SPUBLISH", store.keys.levels_channel(3), nonsense)
        await store.do("SPUBLISH", store.keys.events_channel(), nonsense)
        await store.do("SPUBLISH", store.keys.commands_channel(3), nonsense)
    await store.do("SPUBLISH", store.keys.registry_channel(), b"x")
    await events.add(store, "hello", {})
    assert isinstance(await anext(feed), EventSent)
    assert len(caplog.records) == 16


# --- silence and outages


async def test_after_silence_the_connection_is_made_anew(store: Store) -> None:
    async with Feed(store, Topic, silence_s=0.2) as feed:
        assert await anext(feed) == Resync()
        begin = time.monotonic()
        with promised(2.0):
            assert await anext(feed) == Resync()
        assert time.monotonic() - begin > 0.15
        await events.add(store, "hello", {})
        assert isinstance(await anext(feed), EventSent)


async def test_beats_keep_the_connection(store: Store) -> None:
    # On a Cluster each server has some of the shards, and a connection of its own.
    fences = {shard: await owned(store, shard) for shard in range(store.shards)}
    async with Feed(store, Topic, silence_s=3.0) as feed:
        assert await anext(feed) == Resync()
        for number in range(6):
            await asyncio.sleep(0.7)
            for shard, fence in fences.items():
                await levels.publish(store, shard, fence, [], number)
            told = [await anext(feed) for _ in fences]
            assert {beat.shard for beat in told if isinstance(beat, Beat)} == set(fences)


@pytest.mark.slow
async def test_a_stalled_server_is_noticed_within_seconds(embedded: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    async with open_store(embedded.url, name="test") as store, Feed(store, Topic, silence_s=1.0) as feed:
        assert await anext(feed) == Resync()
        embedded.stop()
        next_one = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(2.5)
        assert not next_one.done()
        embedded.go_on()
        with promised(1.0):
            assert await next_one == Resync()
        await events.add(store, "hello", {})
        assert isinstance(await anext(feed), EventSent)


async def test_a_server_that_went_and_came_back_is_told_once(
    embedded: Embedded, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with open_store(embedded.url, name="test") as store, Feed(store, Topic) as feed:
        assert await anext(feed) == Resync()
        embedded.kill()
        next_one = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0.6)
        assert not next_one.done()
        await asyncio.to_thread(embedded.revive)
        with promised(2.0):
            assert await next_one == Resync()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "the feed waits for Redis",
        "the feed is back",
    ]

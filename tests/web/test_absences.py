"""Who looks at the dashboard is told that lamps are gone also while no steward sweeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from espfleet.domain.shards import shard_of
from espfleet.services.absences import Absences
from espfleet.store import events, presence
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.web.live import Live
from tests.conftest import wait_until

ID, OTHER = "3c71bff93720", "3c71bff93721"


async def gone(store: Store) -> None:
    """Wait until the time of the one device has run out."""

    async def overdue() -> bool:
        return await presence.overdue(store) == [ID]

    await wait_until(overdue)


def told(chunk: bytes) -> list[dict[str, object]]:
    """Return what was told of presence."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in chunk.decode().strip().split("\n\n")
    ]
    return [json.loads(block["data"]) for block in blocks if block["event"] == "presence"]


@asynccontextmanager
async def watched(store: Store) -> AsyncIterator[tuple[Live, AsyncIterator[bytes], asyncio.Future[bytes], Absences]]:
    """Let somebody look, and the time of the one device run out; yield what is looked at, and what comes of it."""
    live = Live(store, lambda: 1)
    feed = live.read()
    await anext(feed)
    reading = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await presence.came(store, ID, Session(session_id="1", gateway="g1", watchdog_ms=200))
    await gone(store)
    yield live, feed, reading, Absences(store, lambda: live.readers, live.absent)
    await feed.aclose()


async def test_a_lamp_of_a_dead_gateway_is_told_to_readers_without_a_steward_and_once(store: Store) -> None:
    await presence.came(store, OTHER, Session(session_id="2", gateway="g2", watchdog_ms=3_600_000))
    async with watched(store) as (_, _, reading, absences):
        await absences.look()
        # A steward may be about to say so.
        assert not reading.done()
        for _ in range(3):
            await absences.look()
        [one] = told(await reading)
    assert (one["device"], one["presence"], one["reason"], one["gateway"]) == (ID, "offline", "gateway gone", "g1")
    # Nothing is recorded, so the steward that comes later finds and tells it.
    assert [event.fields["presence"] for event in await events.latest(store, 10)] == ["live", "live"]
    assert [one.device_id for one in await presence.sweep(store, await presence.times(store))] == [ID]


async def test_a_lamp_that_a_steward_finds_is_told_by_it_alone(store: Store) -> None:
    async with watched(store) as (live, _, reading, absences):
        await absences.look()
        await presence.sweep(store, await presence.times(store))
        for _ in range(3):
            await absences.look()
        assert not reading.done()
        live.tell("beat", {})
        assert told(await reading) == []


async def test_a_lamp_that_was_told_gone_too_early_is_told_to_be_there(store: Store) -> None:
    async with watched(store) as (_, feed, reading, absences):
        for _ in range(2):
            await absences.look()
        assert [one["presence"] for one in told(await reading)] == ["offline"]
        # Its gateway was slow: it has never gone, so that no event says that it comes.
        reading = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(0)
        await presence.refresh(store, "g1", {ID: 3_600_000})
        for _ in range(2):
            await absences.look()
        assert [(one["presence"], one["reason"]) for one in told(await reading)] == [("live", None)]


async def test_more_lamps_than_are_asked_for_at_once_are_all_found(store: Store) -> None:
    ids = {f"{number:012x}" for number in range(store.shards * 600)}
    for device_id in ids:
        await store.redis.zadd(store.keys.due(shard_of(device_id, store.shards)), {device_id: 1})
    assert set(await presence.overdue(store)) == ids

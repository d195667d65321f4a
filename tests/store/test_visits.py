"""Visits: each time a device was there, from when until when."""

from __future__ import annotations

import asyncio

from espfleet.domain.devices import Presence, Reason
from espfleet.store import presence, visits
from espfleet.store.client import Store

CAMERA = "0c0000000001"


def session(number: int, watchdog_ms: int = 60_000) -> presence.Session:
    return presence.Session(session_id=f"gateway/{number}", gateway="gateway", watchdog_ms=watchdog_ms)


async def up_ms(store: Store) -> int:
    found = (await presence.read_presence(store, [CAMERA]))[CAMERA].up_ms
    assert found is not None
    return found


async def test_a_visit_is_from_coming_to_going(store: Store) -> None:
    began_ms = await store.time_ms()
    await presence.came(store, CAMERA, session(1))
    assert await visits.read(store, CAMERA) == []
    await presence.went(store, CAMERA, "gateway/1", Reason.CLOSED)
    [visit] = await visits.read(store, CAMERA)
    assert began_ms <= visit.came_ms <= visit.went_ms <= await store.time_ms()


async def test_a_device_that_was_killed_has_been_there_until_its_time_ran_out(store: Store) -> None:
    await presence.came(store, CAMERA, session(1, watchdog_ms=50))
    came_ms = await up_ms(store)
    await asyncio.sleep(0.1)
    assert [gone.device_id for gone in await presence.sweep(store, await presence.times(store))] == [CAMERA]
    [visit] = await visits.read(store, CAMERA)
    assert (visit.came_ms, visit.went_ms) == (came_ms, came_ms + 50)
    # Its connection is noticed to be gone later; that is no second visit.
    assert not await presence.went(store, CAMERA, "gateway/1", Reason.CLOSED)
    assert len(await visits.read(store, CAMERA)) == 1


async def test_a_device_without_a_gateway_is_silent_and_its_gateway_not_gone(store: Store) -> None:
    await presence.came(store, CAMERA, presence.Session(session_id="1", gateway=presence.HTTP, watchdog_ms=50))
    await asyncio.sleep(0.1)
    assert (await presence.read_presence(store, [CAMERA]))[CAMERA].reason is Reason.SILENT
    assert [gone.reason for gone in await presence.sweep(store, await presence.times(store))] == [Reason.SILENT]
    assert (await presence.read_presence(store, [CAMERA]))[CAMERA].reason is Reason.SILENT


async def test_a_device_that_is_heard_again_begins_another_visit(store: Store) -> None:
    await presence.came(store, CAMERA, session(1, watchdog_ms=50))
    first_ms = await up_ms(store)
    await asyncio.sleep(0.1)
    await presence.sweep(store, await presence.times(store))
    await presence.changed(store, CAMERA, "gateway/1", Presence.LIVE)
    assert await up_ms(store) > first_ms
    await presence.went(store, CAMERA, "gateway/1", Reason.CLOSED)
    first, second = await visits.read(store, CAMERA)
    assert first.went_ms <= second.came_ms


async def test_a_session_that_takes_the_place_of_one_nobody_ended_ends_its_visit(store: Store) -> None:
    await presence.came(store, CAMERA, session(1))
    await presence.came(store, CAMERA, session(2))
    assert len(await visits.read(store, CAMERA)) == 1


async def test_only_the_latest_twenty_are_kept_oldest_first(store: Store) -> None:
    for number in range(25):
        await presence.came(store, CAMERA, session(number))
        await presence.went(store, CAMERA, f"gateway/{number}", Reason.CLOSED)
    found = await visits.read(store, CAMERA)
    assert len(found) == 20
    assert found == sorted(found, key=lambda visit: visit.came_ms)

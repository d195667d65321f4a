"""Devices that go offline together are told as one event, whichever steward looks, and only once."""

from __future__ import annotations

import asyncio
import json
from typing import cast

import pytest

from espfleet.domain import outages as rules
from espfleet.domain.devices import Device, Reason
from espfleet.domain.rooms import Room
from espfleet.services import events as service
from espfleet.store import events, presence, registry
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.store.registry import Change
from espfleet.workers.outages import OutageFinder
from tests.conftest import wait_until


@pytest.fixture(autouse=True)
def short_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.workers.outages.WINDOW_MS", 1_500)


async def come(store: Store, count: int, gateway: str = "g1") -> list[str]:
    """Register devices in one room, and let them connect."""
    made = [Device(id=f"{number:012x}", name=f"lamp-{number}", room="hall") for number in range(count)]
    changes = [Change("devices", device.id, device.to_dict()) for device in made]
    await registry.change(store, lambda _: [Change("rooms", "hall", Room(name="hall").to_dict()), *changes])
    sessions = {device.id: Session(session_id=f"{device.id}/1", gateway=gateway, watchdog_ms=60_000) for device in made}
    await presence.came_all(store, sessions)
    return list(sessions)


async def go(store: Store, ids: list[str], reason: Reason = Reason.SILENT) -> None:
    await asyncio.gather(*(presence.went(store, device_id, f"{device_id}/1", reason) for device_id in ids))


async def told(store: Store) -> list[events.Event]:
    return [event for event in await events.read(store, count=1_000) if event.kind == rules.EVENT]


async def stepped(store: Store, *finders: OutageFinder) -> list[events.Event]:
    for finder in finders:
        await finder.step()
    return await told(store)


async def test_a_room_that_goes_dark_is_one_event_that_stands_for_all(store: Store) -> None:
    ids = await come(store, 6)
    finder = OutageFinder(store, "s1")
    await finder.step()
    await go(store, ids[:5])
    await wait_until(lambda: stepped(store, finder))
    await go(store, ids[5:])
    (event,) = await stepped(store, finder)
    assert (event.fields["scope"], event.fields["name"], event.fields["count"]) == ("room", "hall", 5)
    assert finder.told == 1

    listed = await service.latest(store, count=100)
    assert [(one.kind, one.fields.get("presence")) for one in listed][:2] == [
        ("presence", "offline"),
        (rules.EVENT, None),
    ]
    assert [one.fields.get("presence") for one in listed].count("offline") == 1
    every = await service.latest(store, count=100, each=True)
    assert [one.fields.get("presence") for one in every].count("offline") == 6


async def test_a_room_that_goes_dark_is_told_after_the_clock_of_redis_was_set_back_too(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await come(store, 5)
    finder = OutageFinder(store, "s1")
    await finder.step()
    clock = Store.time_ms

    async def an_hour_ago(self: Store) -> int:
        return await clock(self) - 3_600_000

    # Its ids go on from the highest there was.
    monkeypatch.setattr(Store, "time_ms", an_hour_ago)
    await go(store, ids)
    await wait_until(lambda: stepped(store, finder))
    assert finder.told == 1
    assert not finder._goings


async def test_a_steward_that_takes_over_tells_nothing_twice_and_misses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.workers.outages.LEASE_MS", 300)
    ids = await come(store, 8)
    first, second = OutageFinder(store, "s1"), OutageFinder(store, "s2")
    await first.step()
    await go(store, ids[:4])
    await wait_until(lambda: stepped(store, first, second))
    await asyncio.sleep(0.5)
    # The first steward is dead from here on.
    await go(store, ids[4:])
    await wait_until(lambda: _two(store, second))
    for _ in range(3):
        await second.step()
    assert [event.fields["count"] for event in await told(store)] == [4, 4]


async def test_who_takes_over_tells_nothing_of_the_past_though_ids_stand_where_the_clock_was_ahead(
    store: Store,
) -> None:
    ids = await come(store, 8)
    now_ms = await store.time_ms()
    for number, device_id in enumerate(ids[:4]):
        fields = {"device": device_id, "presence": "offline", "reason": "silent", "recorded_ms": now_ms - 60_000}
        text = json.dumps({"kind": presence.EVENT, **fields})
        await store.do("XADD", store.keys.events(), f"{now_ms + 3_600_000}-{number}", "e", text)
    finder = OutageFinder(store, "s1")
    await finder.step()
    await go(store, ids[4:])
    (event,) = cast(list[events.Event], await wait_until(lambda: stepped(store, finder)))
    assert event.fields["count"] == 4
    assert not {f"lamp-{number}" for number in range(4)} & set(event.fields["devices"])
    assert abs(event.fields["began_ms"] - await store.time_ms()) < 20_000


async def _two(store: Store, finder: OutageFinder) -> bool:
    return len(await stepped(store, finder)) == 2


async def test_single_lamps_are_told_one_by_one(store: Store) -> None:
    ids = await come(store, 6)
    finder = OutageFinder(store, "s1")
    await finder.step()
    await go(store, ids[:1])
    await asyncio.sleep(1.7)
    await go(store, ids[1:2])
    await asyncio.sleep(1.7)
    assert await stepped(store, finder) == []

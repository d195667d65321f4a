"""What happened."""

from __future__ import annotations

import asyncio

from espfleet.store import events
from espfleet.store.client import Store


async def test_events_are_read_in_their_order(store: Store) -> None:
    ids = [await events.add(store, "hello", {"number": number, "kind": "other"}) for number in range(5)]
    found = await events.read(store)
    assert [event.event_id for event in found] == ids
    assert [(event.kind, event.fields) for event in found[:2]] == [("hello", {"number": 0}), ("hello", {"number": 1})]
    assert abs(found[0].at_ms - await store.time_ms()) < 2_000

    assert [event.event_id for event in await events.read(store, ids[2] or "", 1)] == ids[3:4]
    assert [event.event_id for event in await events.latest(store, 2)] == ids[3:]


async def test_events_tell_when_they_happened_though_their_ids_stand_where_the_clock_was_ahead(store: Store) -> None:
    now_ms = await store.time_ms()
    ahead = f"{now_ms + 3_600_000}-0"
    # As earlier versions wrote it.
    await store.do("XADD", store.keys.events(), ahead, "e", '{"kind":"old"}')
    await events.add(store, "hello", {"recorded_ms": 1, "note": "}"})
    await events.add_all(store, "hello", [{}, {"number": 2}])
    old, *new = await events.read(store)
    assert (old.at_ms, old.fields) == (now_ms + 3_600_000, {})
    assert [event.fields for event in new] == [{"note": "}"}, {}, {"number": 2}]
    assert all(event.event_id > ahead for event in new)
    assert all(abs(event.at_ms - now_ms) < 10_000 for event in new)


async def test_of_those_with_one_mark_only_the_first_is_recorded(store: Store) -> None:
    answers = await asyncio.gather(*(events.add(store, "hello", {}, mark="m") for _ in range(10)))
    assert len([answer for answer in answers if answer]) == 1
    assert len(await events.read(store)) == 1


async def test_only_the_latest_are_kept(store: Store) -> None:
    await asyncio.gather(*(events.add(store, "hello", {}) for _ in range(events.KEPT + 500)))
    assert events.KEPT <= await store.redis.xlen(store.keys.events()) < events.KEPT + 200

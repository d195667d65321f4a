"""A fleet that an older espfleet made is brought up to date at once, by one of many, or not at all."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from espfleet.domain.migration import SCHEMA, Tables
from espfleet.errors import ConflictError, StoreError
from espfleet.store import client, registry, tables, workers
from espfleet.store.client import Store, open_store
from espfleet.store.registry import Change


def add_labels(old: Tables) -> Tables:
    """Make-believe: the version before had no labels."""
    return {**old, "rooms": {name: {**row, "labels": ["old"]} for name, row in old["rooms"].items()}}


def break_off(old: Tables) -> Tables:
    raise KeyError("labels")


async def make_old(store: Store) -> None:
    """Leave a fleet as the version before would have."""
    rooms = [Change("rooms", name, {"name": name}) for name in ("hall", "attic")]
    await registry.change(store, lambda _: rooms)


async def test_rows_of_an_older_fleet_are_brought_up_to_date(store: Store) -> None:
    await make_old(store)
    before = await registry.version(store)
    assert await tables.bring_up_to_date(store, [add_labels])
    found = await tables.read(store)
    assert found.schema == 2
    assert found.version > before
    assert found.tables["rooms"]["hall"] == {"name": "hall", "labels": ["old"]}
    assert not await tables.bring_up_to_date(store, [add_labels])


async def test_of_many_that_begin_at_once_one_does_it(store: Store) -> None:
    await make_old(store)
    done = await asyncio.gather(*(tables.bring_up_to_date(store, [add_labels]) for _ in range(8)))
    assert sorted(done) == [False] * 7 + [True]


async def test_a_step_that_fails_leaves_the_fleet_as_it_was(store: Store) -> None:
    await make_old(store)
    before = await tables.read(store)
    with pytest.raises(StoreError, match=r"cannot be brought from schema 1 to 3.*it is left as it is"):
        await tables.bring_up_to_date(store, [add_labels, break_off])
    assert await tables.read(store) == before


async def test_opening_an_older_fleet_brings_it_up_to_date(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await make_old(store)
    asked = []

    async def note(opened: Store) -> bool:
        asked.append(opened.url)
        return True

    monkeypatch.setattr(tables, "bring_up_to_date", note)
    async with open_store(store.url, name="present"):
        assert not asked
    monkeypatch.setattr(client, "SCHEMA", SCHEMA + 1)
    async with open_store(store.url, name="newer"):
        assert asked == [store.url]


async def test_a_worker_notices_that_a_newer_one_has_brought_the_fleet_up_to_date(store: Store) -> None:
    await store.redis.hset(store.keys.settings(), "schema", SCHEMA + 1)
    with pytest.raises(StoreError, match="brought up to date by a newer espfleet: update this one"):
        await workers.beat(store, "leveler", "a", {})


async def test_rows_are_not_replaced_when_somebody_was_faster(store: Store) -> None:
    before = await tables.read(store)
    await make_old(store)
    with pytest.raises(ConflictError, match="nothing was written"):
        await tables.replace(store, {}, before)
    assert json.loads(await store.redis.hget(store.keys.table("rooms"), "hall")) == {"name": "hall"}


async def test_no_version_is_used_twice_though_the_server_lost_it_and_its_clock_was_set_back(store: Store) -> None:
    ahead = await store.time_ms() * 1_000 + 3_600_000_000
    await make_old(store)
    before = await tables.read(store)
    versions = set()
    for _ in range(20):
        # Each time as it was a second before.
        await store.redis.set(store.keys.version(), ahead)
        versions.add(await tables.replace(store, before.tables, replace(before, version=ahead)))
    assert min(versions) > ahead
    assert len(versions) == 20

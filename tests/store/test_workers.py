"""Who works."""

from __future__ import annotations

import pytest

from espfleet.errors import StoreError
from espfleet.store import workers
from espfleet.store.client import Store
from tests.conftest import wait_until


async def test_living_workers_are_listed_with_what_they_tell(store: Store) -> None:
    assert await workers.alive(store, "prober") == {}
    assert not await workers.beat(store, "prober", "host-1", {"targets": 7})
    assert await workers.beat(store, "prober", "host-1", {"targets": 8})
    await workers.beat(store, "prober", "host-2", {})
    await workers.beat(store, "gateway", "host-3", {})
    assert await workers.alive(store, "prober") == {"host-1": {"targets": 8}, "host-2": {}}


async def test_one_that_is_silent_is_gone(store: Store) -> None:
    await workers.beat(store, "prober", "host-1", {}, ttl_ms=30)
    await workers.beat(store, "prober", "host-2", {})

    async def alone() -> bool:
        return list(await workers.alive(store, "prober")) == ["host-2"]

    await wait_until(alone)
    assert not await workers.beat(store, "prober", "host-1", {})


async def test_one_that_leaves_is_gone_at_once(store: Store) -> None:
    await workers.beat(store, "prober", "host-1", {})
    await workers.leave(store, "prober", "host-1")
    assert await workers.alive(store, "prober") == {}


async def test_names_of_the_dead_leave_the_index(store: Store) -> None:
    await store.redis.zadd(store.keys.workers("prober"), {"old": 1.0})
    await workers.beat(store, "prober", "host-1", {})
    assert await store.redis.zrange(store.keys.workers("prober"), 0, -1) == [b"host-1"]


async def test_a_beat_brings_the_fleets_settings_back(store: Store) -> None:
    await store.redis.flushall()
    assert not await workers.beat(store, "prober", "host-1", {})
    assert await store.redis.hget(store.keys.settings(), "shards") == b"8"


async def test_a_fleet_that_was_set_up_otherwise_is_noticed(store: Store) -> None:
    await store.redis.hset(store.keys.settings(), "shards", 16)
    with pytest.raises(StoreError, match="now has 16 shards, not 8: restart"):
        await workers.beat(store, "prober", "host-1", {})

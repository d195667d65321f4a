"""Locks: one at a time, in order, never for ever; and late holders noticed."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain.shards import shard_of
from espfleet.errors import LockBusyError
from espfleet.store import cooldowns, locks
from espfleet.store.client import Store
from tests.conftest import wait_until

DEVICE = "3c71bff93720"


async def taken(store: Store, *, ttl_ms: int = 10_000, wait_ms: int = 5_000) -> locks.Lock:
    lock = await locks.take(store, DEVICE, ttl_ms=ttl_ms, wait_ms=wait_ms)
    assert lock is not None
    return lock


def queue(store: Store) -> str:
    return store.keys.lock(shard_of(DEVICE, store.shards), DEVICE, "request") + ":queue"


async def waiting(store: Store, count: int) -> None:
    await wait_until(lambda: is_long(store, count), what=f"{count} wait")


async def is_long(store: Store, count: int) -> bool:
    return int(await store.redis.zcard(queue(store))) == count


async def test_one_of_many_has_it_at_a_time(store: Store) -> None:
    inside = most = 0

    async def work() -> int:
        nonlocal inside, most
        async with locks.locked(store, DEVICE) as lock:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1
        return lock.fence

    fences = await asyncio.gather(*(work() for _ in range(40)))
    assert most == 1
    assert len(set(fences)) == 40


async def test_nobody_is_overtaken(store: Store) -> None:
    first = await taken(store)
    order: list[int] = []

    async def work(number: int) -> None:
        async with locks.locked(store, DEVICE):
            order.append(number)

    tasks = []
    for number in range(8):
        tasks.append(asyncio.create_task(work(number)))
        await waiting(store, number + 1)
    await first.release()
    await asyncio.gather(*tasks)
    assert order == list(range(8))


async def test_a_holder_that_dies_frees_it_in_time(store: Store) -> None:
    began = time.monotonic()
    dead = await taken(store, ttl_ms=200)
    heir = await taken(store)
    # The server counts whole milliseconds. One who is told by nobody looks again after seconds.
    assert 0.19 < time.monotonic() - began < 10.0
    assert heir.fence > dead.fence
    assert not dead.held
    assert not await dead.release()
    assert await locks.take(store, DEVICE, wait_ms=0) is None


async def test_after_a_holder_died_those_who_wait_come_before_a_newcomer(store: Store) -> None:
    await store.redis.zadd(queue(store), {"first:10000": 1})
    await store.redis.zadd(queue(store).replace(":queue", ":until"), {"first:10000": 10**14})
    assert await locks.take(store, DEVICE, wait_ms=0) is None
    assert await store.redis.get(queue(store).removesuffix(":queue")) == b"first:10000"
    assert await store.redis.zcard(queue(store)) == 0


async def test_one_that_dies_while_it_waits_is_passed_over(store: Store) -> None:
    first = await taken(store)
    await store.redis.zadd(queue(store), {"dead:10000": 1})
    await store.redis.zadd(queue(store).replace(":queue", ":until"), {"dead:10000": 1})
    second = asyncio.create_task(taken(store))
    await waiting(store, 2)
    await first.release()
    assert (await second).held


async def test_one_that_gives_up_leaves_the_queue(store: Store) -> None:
    first = await taken(store)
    assert await locks.take(store, DEVICE, wait_ms=50) is None
    impatient = asyncio.create_task(taken(store))
    await waiting(store, 1)
    impatient.cancel()
    await asyncio.gather(impatient, return_exceptions=True)
    await waiting(store, 0)
    await first.release()
    assert (await taken(store, wait_ms=0)).held


async def test_a_busy_device_is_named(store: Store) -> None:
    await taken(store)
    with pytest.raises(LockBusyError, match="porch is busy"):
        async with locks.locked(store, DEVICE, name="porch", wait_ms=0):
            pass


async def test_other_devices_and_other_purposes_are_free(store: Store) -> None:
    await taken(store)
    assert await locks.take(store, "3c71bff93721", wait_ms=0)
    assert await locks.take(store, DEVICE, purpose="pin:22", wait_ms=0)


async def test_people_can_open_a_lock(store: Store) -> None:
    await taken(store)
    assert await locks.force_open(store, DEVICE, "request")
    assert (await taken(store, wait_ms=0)).held


async def test_a_cooldown_is_no_lock(store: Store) -> None:
    assert await cooldowns.start(store, DEVICE, "pin:22", 60_000) == 0
    # However long the next one is to be: who asks does not change the one that lasts.
    for wanted_ms in (60_000, 100, 3_600_000):
        assert 1_000 < await cooldowns.start(store, DEVICE, "pin:22", wanted_ms) <= 60_000
    assert await cooldowns.start(store, DEVICE, "pin:23", 60_000) == 0


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(30, 120), st.integers(0, 150), st.booleans()), min_size=1, max_size=8))
async def test_no_lock_outlives_its_lifetime(store: Store, holders: list[tuple[int, int, bool]]) -> None:
    await store.redis.flushdb()

    async def hold(ttl_ms: int, wait_ms: int, gives_back: bool) -> None:
        lock = await locks.take(store, DEVICE, ttl_ms=ttl_ms, wait_ms=wait_ms)
        if lock is not None and gives_back:
            await lock.release()

    await asyncio.gather(*(hold(*holder) for holder in holders))
    key = store.keys.lock(shard_of(DEVICE, store.shards), DEVICE, "request")
    assert int(await store.redis.pttl(key)) <= max(ttl_ms for ttl_ms, _, _ in holders)
    await asyncio.sleep(0.13)
    assert await locks.take(store, DEVICE, wait_ms=0)


async def test_the_fence_grows_also_after_the_server_forgot_it(store: Store) -> None:
    fences = []
    for forget in (False, False, True, False):
        lock = await taken(store)
        fences.append(lock.fence)
        assert await lock.release()
        key = queue(store).replace(":queue", ":fence")
        assert 0 < await store.redis.pttl(key) <= 86_400_000
        if forget:
            await store.redis.delete(key)
    assert fences == sorted(set(fences))

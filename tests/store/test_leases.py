"""Leases: one owner at a time, and late ones noticed."""

from __future__ import annotations

import asyncio

from espfleet.store.client import Store
from espfleet.store.leases import Lease, holder, renew_all
from tests.conftest import wait_until


async def taken(store: Store, owner: str, ttl_ms: int = 60_000, duty: str = "s3") -> Lease:
    lease = await Lease.take(store, duty, owner, ttl_ms)
    assert lease is not None
    return lease


async def test_one_of_many_gets_it(store: Store) -> None:
    answers = await asyncio.gather(*(Lease.take(store, "lead:sweep", f"w{n}", 60_000) for n in range(50)))
    [won] = [lease for lease in answers if lease]
    assert await holder(store, "lead:sweep") == won.owner
    assert await holder(store, "lead:other") is None


async def test_taking_again_renews_and_keeps_the_fence(store: Store) -> None:
    first = await taken(store, "ann", ttl_ms=5_000)
    again = await taken(store, "ann", ttl_ms=60_000)
    assert again.fence == first.fence
    assert await store.redis.pttl(store.keys.owner("s3")) > 50_000


async def test_a_lease_that_ends_passes_on_with_a_higher_fence(store: Store) -> None:
    first = await taken(store, "ann", ttl_ms=30)
    await wait_until(lambda: holder_is(store, None))
    second = await taken(store, "bob")

    assert second.fence > first.fence
    assert not await first.renew()
    assert not first.held
    await first.release()
    assert await holder(store, "s3") == "bob"


async def test_one_given_back_is_free_at_once(store: Store) -> None:
    first = await taken(store, "ann")
    await first.release()
    assert not first.held
    assert (await taken(store, "bob")).fence > first.fence


async def test_renewing_makes_it_last(store: Store) -> None:
    lease = await taken(store, "ann", ttl_ms=2_000)
    for _ in range(5):
        await asyncio.sleep(0.5)
        assert await lease.renew()
    assert lease.held


async def test_one_that_is_kept_outlives_its_time_and_then_ends(store: Store) -> None:
    lease = await taken(store, "ann", ttl_ms=3_000)
    async with lease.kept():
        await asyncio.sleep(3.5)
        assert await holder(store, "s3") == "ann"
    await wait_until(lambda: holder_is(store, None))


async def test_its_owner_knows_by_its_own_clock_when_it_is_over(store: Store) -> None:
    now_s = 100.0
    lease = await Lease.take(store, "s3", "ann", 2_000, clock=lambda: now_s)
    assert lease is not None
    now_s = 101.9
    assert lease.held
    assert await lease.renew()
    now_s = 103.8
    assert lease.held
    now_s = 104.0
    assert not lease.held


async def test_the_fence_grows_even_when_the_server_was_emptied(store: Store) -> None:
    first = await taken(store, "ann")
    await store.redis.flushall()
    assert not await first.renew()
    assert (await taken(store, "bob")).fence > first.fence


async def holder_is(store: Store, name: str | None) -> bool:
    return await holder(store, "s3") == name


async def test_nobody_gets_the_fence_of_another_though_the_server_lost_it_and_its_clock_was_set_back(
    store: Store,
) -> None:
    ahead = await store.time_ms() * 1_000 + 3_600_000_000
    fences = set()
    for number in range(20):
        # Each time as it was a second before.
        await store.redis.set(store.keys.fence("s3"), ahead)
        await store.redis.delete(store.keys.owner("s3"))
        fences.add((await taken(store, f"w{number}")).fence)
    assert min(fences) > ahead
    assert len(fences) == 20


async def test_leases_are_renewed_together_and_each_by_itself(store: Store) -> None:
    held = [await Lease.take(store, f"s{shard}", "ann", 60_000) for shard in range(3)]
    leases = [lease for lease in held if lease is not None]
    await store.do("DEL", store.keys.owner("s1"))
    assert await Lease.take(store, "s1", "bob", 60_000)
    await store.do("PEXPIRE", store.keys.owner("s2"), 30_000)
    assert await renew_all(store, leases) == [True, False, True]
    assert [lease.held for lease in leases] == [True, False, True]
    assert await store.do("PTTL", store.keys.owner("s2")) > 50_000
    assert await renew_all(store, []) == []

"""Levels as they are published and read."""

from __future__ import annotations

import pytest

from espfleet.domain.states import GroupLevel, State
from espfleet.errors import LeaseLostError
from espfleet.store import levels
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from tests.conftest import wait_until


def level(group: str, value: int = 7) -> GroupLevel:
    return GroupLevel(group=group, level=value, state=State.OK, at_ms=1_000, reason='"router"')


@pytest.fixture
async def fence(store: Store) -> int:
    lease = await Lease.take(store, "s3", "ann", 60_000)
    assert lease is not None
    return lease.fence


async def test_what_was_published_is_read(store: Store, fence: int) -> None:
    seq = await levels.publish(store, 3, fence, [level("a"), level("b", 90)], 1_000)
    found = await levels.read_levels(store)

    assert {name: (one.level, one.seq, one.reason) for name, one in found.levels.items()} == {
        "a": (7, seq, '"router"'),
        "b": (90, seq, '"router"'),
    }
    assert found.fresh_shards == {3}


async def test_publications_are_counted_and_beats_are_not(store: Store, fence: int) -> None:
    first = await levels.publish(store, 3, fence, [level("a")], 1_000)
    assert await levels.publish(store, 3, fence, [], 1_001) == first
    assert await levels.publish(store, 3, fence, [level("a")], 1_002) == first + 1


async def test_a_shard_without_a_beat_is_not_fresh(store: Store, fence: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(levels, "BEAT_TTL_MS", 50)
    await levels.publish(store, 3, fence, [level("a")], 1_000)

    async def stale() -> bool:
        return (await levels.read_levels(store)).fresh_shards == set()

    await wait_until(stale)
    assert "a" in (await levels.read_levels(store)).levels


async def test_a_late_owner_is_refused(store: Store, fence: int) -> None:
    await store.redis.delete(store.keys.owner("s3"))
    newer = await Lease.take(store, "s3", "bob", 60_000)
    assert newer is not None
    for attempt in (
        levels.publish(store, 3, fence, [level("a")], 1_000),
        levels.publish(store, 3, fence, [], 1_000),
        levels.remove(store, 3, fence, ["a"]),
    ):
        with pytest.raises(LeaseLostError, match="the lease of shard 3 has passed to another worker"):
            await attempt
    assert await levels.read_levels(store) == levels.LevelsSnapshot({}, set())


async def test_after_a_flush_the_owner_must_take_its_lease_anew_and_numbers_go_on(store: Store, fence: int) -> None:
    before = await levels.publish(store, 3, fence, [level("a")], 1_000)
    await store.redis.flushall()
    with pytest.raises(LeaseLostError):
        await levels.publish(store, 3, fence, [level("a")], 1_000)

    lease = await Lease.take(store, "s3", "ann", 60_000)
    assert lease is not None
    assert await levels.publish(store, 3, lease.fence, [level("a")], 1_000) > before


async def test_levels_of_groups_that_are_gone_are_removed(store: Store, fence: int) -> None:
    await levels.publish(store, 3, fence, [level("a"), level("b")], 1_000)
    await levels.remove(store, 3, fence, ["a"])
    await levels.remove(store, 3, 0, [])
    assert list((await levels.read_levels(store)).levels) == ["b"]


async def test_a_summary_holds_no_longer_than_the_levels_do(store: Store) -> None:
    assert await levels.get_snapshot(store, 3) is None
    await levels.put_snapshots(store, {3: b"\0\1"})
    assert await levels.get_snapshot(store, 3) == b"\0\1"
    assert 0 < await store.redis.pttl(store.keys.snapshot(3)) <= levels.BEAT_TTL_MS

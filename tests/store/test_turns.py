"""Turns of a leveler: all shards are read together, and written together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from espfleet.domain.states import GroupLevel, State
from espfleet.store import levels, registry, samples, turns
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.store.registry import Change
from espfleet.store.samples import Entry, ShardReader
from espfleet.store.turns import Outcome, Turn

SHARDS = (1, 3, 5)


@pytest.fixture
async def readers(store: Store) -> AsyncIterator[list[ShardReader]]:
    await samples.init_consumers(store)
    made = [ShardReader(store, shard, "leveler-1") for shard in SHARDS]
    await turns.read(store, made, 10, 2)
    yield made
    for reader in made:
        await reader.stop()


async def write(store: Store, seq: int, shards: Sequence[int] = SHARDS) -> None:
    await samples.append(store, [Entry(shard, "prober-1", seq, "0f", b"") for shard in shards], 1_000)


def seqs(turn: Turn) -> dict[int, list[int]]:
    return {shard: [entry.seq for entry in entries] for shard, entries in turn.entries.items()}


async def pending(store: Store, shard: int) -> int:
    (group,) = await store.redis.xinfo_groups(store.keys.samples(shard))
    return int(group["pending"])


@pytest.mark.single
async def test_a_wait_that_one_shard_ends_brings_what_is_new_in_all(store: Store, readers: list[ShardReader]) -> None:
    waiting = asyncio.create_task(turns.read(store, readers, 2_000, 10))
    await asyncio.sleep(0.05)
    # Each entry is written by a command of its own, so that the first of them ends the wait.
    await write(store, 7)
    turn = await waiting
    assert seqs(turn) == {1: [7], 3: [7], 5: [7]}
    assert abs(turn.now_ms - await store.time_ms()) < 60_000
    assert seqs(await turns.read(store, readers, 10, 10)) == {}


async def test_of_several_shards_none_gets_more_than_was_asked_for_and_the_rest_comes_next(
    store: Store, readers: list[ShardReader]
) -> None:
    for seq in range(5):
        await write(store, seq)
    found: dict[int, list[int]] = {shard: [] for shard in SHARDS}
    async with asyncio.timeout(30):
        while any(len(some) < 5 for some in found.values()):
            for shard, some in seqs(await turns.read(store, readers, 10, 2)).items():
                assert len(some) <= 2
                found[shard] += some
    assert found == {shard: [0, 1, 2, 3, 4] for shard in SHARDS}


async def test_what_is_done_is_acknowledged_with_the_next_turn_and_nothing_else(
    store: Store, readers: list[ShardReader]
) -> None:
    await write(store, 1)
    entries = {}
    while len(entries) < len(SHARDS):
        # On a Cluster each server answers for itself.
        entries |= (await turns.read(store, readers, 1_000, 10)).entries
    for reader in readers[:2]:
        reader.done(entries[reader.shard])
    assert [await pending(store, shard) for shard in SHARDS] == [1, 1, 1]
    await turns.read(store, readers, 10, 10)
    assert [await pending(store, shard) for shard in SHARDS] == [0, 0, 1]
    heir = ShardReader(store, 5, "leveler-2")
    assert [entry.seq for entry in await heir.claim_all()] == [1]


async def test_a_turn_tells_of_a_change_of_the_registry(store: Store, readers: list[ShardReader]) -> None:
    before = (await turns.read(store, readers, 10, 10)).registry_version
    await registry.apply(store, [Change("groups", "lan", {"name": "lan"})], before)
    assert (await turns.read(store, readers, 10, 10)).registry_version == await registry.version(store) > before


async def test_only_the_owner_of_a_shard_can_write_and_the_others_of_the_turn_are_written(store: Store) -> None:
    fences = {}
    for shard in SHARDS:
        lease = await Lease.take(store, f"s{shard}", "leveler-1", 60_000)
        assert lease is not None
        fences[shard] = lease.fence
    lost: dict[str, Any] = {"shard": 3, "fence": fences[3] - 1, "snapshot": None}
    shown = GroupLevel(group="a", level=70, state=State.OK, at_ms=1)
    outcomes = [
        Outcome(shard=1, fence=fences[1], levels=[shown], snapshot=b"\0\1"),
        Outcome(levels=[GroupLevel(group="b", level=10, state=State.OK, at_ms=1)], **lost),
        Outcome(shard=5, fence=fences[5], levels=None, snapshot=None),
    ]
    assert await turns.write(store, outcomes, 1_000) == {3}
    found = await levels.read_levels(store)
    assert {name: level.level for name, level in found.levels.items()} == {"a": 70}
    assert found.fresh_shards == {1}
    assert await levels.get_snapshot(store, 1) == b"\0\1"
    assert await turns.write(store, [], 1_000) == set()

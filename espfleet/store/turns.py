"""A turn of a leveler: what is new in all its shards is read together, and what came of it is written together.

On one server that takes one round trip each beside the wait, however many shards there are; on a Cluster, where no
command reaches several servers, those of all shards go side by side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from espfleet.domain.states import GroupLevel
from espfleet.store import levels
from espfleet.store.client import Store
from espfleet.store.samples import ShardReader, StreamEntry, acknowledge, read_now, read_shards, taken


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn has to deal with.

    Attributes:
        entries: New entries by shard; shards without are absent.
        now_ms: Time after reading them by the clock of Redis, ms since the epoch.
        registry_version: Version of the registry then.
    """

    entries: dict[int, list[StreamEntry]]
    now_ms: int
    registry_version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a turn for one shard.

    Attributes:
        shard: Number of the shard.
        fence: Fence of its lease.
        levels: Levels to publish, none for a beat; ``None`` if there is nothing to say.
        snapshot: Summary of its targets to store, or ``None``.
    """

    shard: int
    fence: int
    levels: Sequence[GroupLevel] | None
    snapshot: bytes | None


async def read(store: Store, readers: Sequence[ShardReader], block_ms: int, count: int) -> Turn:
    """Return what is new in these shards, up to ``count`` entries each; acknowledge what the turn before dealt with.

    Waits up to ``block_ms``, at most 2,000, while there is nothing.
    """
    entries = await read_shards(store, readers, block_ms, count)
    if store.on_cluster:
        now_ms, version, *_ = await asyncio.gather(
            store.time_ms(),
            store.do("GET", store.keys.version()),
            *(store.do(*command) for command in acknowledge(readers)),
        )
        return Turn(entries, now_ms, int(version or 0))
    # The writer of the entry that ended the wait has written those of other shards by now.
    others = [reader for reader in readers if entries and reader.shard not in entries and reader.waits]
    asked = [read_now(others, count)] if others else []
    asked_us = store.ticks_us()
    *replies, time, version = await store.do_all(
        [*acknowledge(readers), *asked, ("TIME",), ("GET", store.keys.version())]
    )
    if others:
        entries |= taken(others, replies[-1], count)
    return Turn(entries, store.told(asked_us, time), int(version or 0))


async def write(store: Store, outcomes: Sequence[Outcome], now_ms: int) -> set[int]:
    """Publish levels and store summaries; return the shards that have another owner since, where nothing was published.

    Args:
        store: Where the fleet is kept.
        outcomes: Of each shard at most one.
        now_ms: Current time, ms since the epoch.
    """
    told = [one for one in outcomes if one.levels is not None]
    calls = [levels.publishing(store, one.shard, one.fence, one.levels or (), now_ms) for one in told]
    summaries = {one.shard: one.snapshot for one in outcomes if one.snapshot is not None}
    seqs, _ = await asyncio.gather(store.run_all(calls), levels.put_snapshots(store, summaries))
    return {one.shard for one, seq in zip(told, seqs, strict=True) if int(seq) < 0}

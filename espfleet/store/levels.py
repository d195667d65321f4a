"""Levels of groups: the latest of each in a hash, which is the truth, and a message to whoever listens."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from espfleet.domain.states import GroupLevel
from espfleet.errors import LeaseLostError
from espfleet.store.client import Call, Command, Store

#: A shard whose beat is older says nothing about the present.
BEAT_TTL_MS = 3_000


@dataclass(frozen=True, slots=True)
class LevelsSnapshot:
    """Levels as they were at one moment.

    Attributes:
        levels: Latest level of each group, by name.
        fresh_shards: Shards that somebody keeps fresh; the levels of others are out of date.
    """

    levels: dict[str, GroupLevel]
    fresh_shards: set[int]


async def publish(store: Store, shard: int, fence: int, levels: Sequence[GroupLevel], now_ms: int) -> int:
    """Store levels and tell them to all who listen; without levels it is a beat, which says that the others hold.

    Args:
        store: Where the fleet is kept.
        shard: Shard of the groups.
        fence: Fence of the shard's lease.
        levels: Levels that changed; their ``seq`` is replaced.
        now_ms: Current time, ms since the epoch.

    Returns:
        Number of the publication; it grows by one with each, and starts higher after the server was emptied. A beat
        repeats the latest.

    Raises:
        LeaseLostError: If the shard has another owner since.
    """
    call = publishing(store, shard, fence, levels, now_ms)
    seq = int(await store.run(call.script, call.keys, call.args))
    if seq < 0:
        raise LeaseLostError(f"shard {shard}")
    return seq


def publishing(store: Store, shard: int, fence: int, levels: Sequence[GroupLevel], now_ms: int) -> Call:
    """Return the call of ``publish``; its reply is the number of the publication, or -1 if the lease is lost."""
    keys = store.keys
    rows = {level.group: json.dumps(level.to_dict(), separators=(",", ":")) for level in levels}
    told = ",".join(f"{json.dumps(group)}:{row}" for group, row in rows.items())
    words: list[str | int] = [fence, keys.levels_channel(shard), shard, now_ms, BEAT_TTL_MS, told]
    for group, row in rows.items():
        words += [group, row]
    touched = [keys.fence(f"s{shard}"), keys.seq(shard), keys.levels(shard), keys.beat(shard)]
    return Call("publish_levels", touched, words)


async def remove(store: Store, shard: int, fence: int, groups: Sequence[str]) -> None:
    """Forget the levels of groups that are gone.

    Raises:
        LeaseLostError: If the shard has another owner since.
    """
    if not groups:
        return
    keys = [store.keys.fence(f"s{shard}"), store.keys.levels(shard)]
    if not await store.run("remove_levels", keys, [fence, *groups]):
        raise LeaseLostError(f"shard {shard}")


async def read_levels(store: Store) -> LevelsSnapshot:
    """Return the latest level of every group."""
    shards = range(store.shards)
    commands: list[Command] = [("HGETALL", store.keys.levels(shard)) for shard in shards]
    commands += [("EXISTS", store.keys.beat(shard)) for shard in shards]
    replies = await store.do_all(commands)
    levels = {}
    for table in replies[: store.shards]:
        for group_bytes, row in table.items():
            group, (seq, _, text) = group_bytes.decode(), row.partition(b" ")
            levels[group] = GroupLevel.from_dict(group, json.loads(text), int(seq))
    return LevelsSnapshot(levels, {shard for shard in shards if replies[store.shards + shard]})


async def hold_beats(store: Store) -> None:
    """Let no shard count as fresh for longer than a beat lasts, as it does after the clock of Redis was set back."""
    shards = range(store.shards)
    keys = [key(shard) for key in (store.keys.beat, store.keys.snapshot) for shard in shards]
    await store.do_all([("PEXPIRE", key, BEAT_TTL_MS, "LT") for key in keys])


async def put_snapshots(store: Store, blobs: Mapping[int, bytes]) -> None:
    """Store the summary of each shard's targets; it is true for as long as levels are without a beat."""
    await store.do_all([("SET", store.keys.snapshot(shard), blob, "PX", BEAT_TTL_MS) for shard, blob in blobs.items()])


async def get_snapshot(store: Store, shard: int) -> bytes | None:
    """Return the summary of a shard's targets, or ``None`` if there is no recent one."""
    blob: bytes | None = await store.do("GET", store.keys.snapshot(shard))
    return blob

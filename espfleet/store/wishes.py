"""What each job of a device wishes, since when and why: so that shortest times hold over restarts."""

from __future__ import annotations

import json
from collections.abc import Mapping

from espfleet.domain.jobs import Wish
from espfleet.domain.shards import shard_of
from espfleet.store.client import Store

TTL_MS = 7 * 24 * 3_600_000


async def put(store: Store, device_id: str, wishes: Mapping[str, Wish]) -> None:
    """Store the wishes of all jobs of a device; those of other jobs go."""
    key = store.keys.wishes(shard_of(device_id, store.shards), device_id)
    words: list[str] = []
    for name, wish in wishes.items():
        words += [name, json.dumps([wish.on, wish.since_ms, wish.why, wish.value_ms], separators=(",", ":"))]
    fill = [("HSET", key, *words), ("PEXPIRE", key, TTL_MS)] if words else []
    await store.do_all([("DEL", key), *fill], atomic=True)


async def get(store: Store, device_id: str) -> dict[str, Wish]:
    """Return the wishes of a device's jobs, by name."""
    found = await store.do("HGETALL", store.keys.wishes(shard_of(device_id, store.shards), device_id))
    return {name.decode(): Wish(*json.loads(text)) for name, text in found.items()}

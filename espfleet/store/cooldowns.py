"""Cooldowns: not again before a given time. No lock: nobody holds one, and it is never given back."""

from __future__ import annotations

from espfleet.domain.shards import shard_of
from espfleet.store.client import Store


async def start(store: Store, device_id: str, what: str, for_ms: int) -> int:
    """Start a cooldown of a device, unless the last one still lasts.

    Returns:
        0 if it began; else, for how many ms the last one still lasts, however long this one was to be.
    """
    key = store.keys.cooldown(shard_of(device_id, store.shards), device_id, what)
    return int(await store.run("cooldown", (key,), (for_ms,)))

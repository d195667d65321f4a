"""Cooldowns: not again before a given time. No lock: nobody holds one, and it is never given back."""

from __future__ import annotations

from espfleet.domain.shards import shard_of
from espfleet.store.client import Store


async def start(store: Store, device_id: str, what: str, for_ms: int) -> bool:
    """Start a cooldown of a device; return ``False``, and change nothing, while the last one still lasts."""
    key = store.keys.cooldown(shard_of(device_id, store.shards), device_id, what)
    return bool(await store.do("SET", key, "1", "NX", "PX", for_ms))


async def left_ms(store: Store, device_id: str, what: str) -> int:
    """Return how long a cooldown still lasts, in ms; 0 if there is none."""
    key = store.keys.cooldown(shard_of(device_id, store.shards), device_id, what)
    return max(0, int(await store.do("PTTL", key)))

"""Who works: each worker keeps an expiring key; whose key is gone is gone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from espfleet.domain.migration import SCHEMA
from espfleet.errors import StoreError
from espfleet.store.client import Store

TTL_MS = 3_000
#: Names of dead workers leave the index after this time.
_INDEX_TTL_MS = 3_600_000


async def beat(store: Store, role: str, name: str, info: Mapping[str, Any], ttl_ms: int = TTL_MS) -> bool:
    """Say that a worker lives for the next ``ttl_ms``, and what it tells about itself.

    Returns:
        Whether Redis knew it: ``False`` at the first beat, after a silence, and after the server was emptied.

    Raises:
        StoreError: If the fleet was emptied and set up anew with another number of shards, or brought up to date by a
            newer espfleet.
    """
    settings = await store.settle()
    if settings["shards"] != store.shards:
        raise StoreError(f"the fleet at {store.url} now has {settings['shards']} shards, not {store.shards}: restart")
    if settings["schema"] > SCHEMA:
        raise StoreError(f"the fleet at {store.url} was brought up to date by a newer espfleet: update this one")
    keys = [store.keys.worker(role, name), store.keys.workers(role)]
    text = json.dumps(info, separators=(",", ":"))
    return bool(await store.run("beat_worker", keys, [name, text, ttl_ms, _INDEX_TTL_MS]))


async def alive(store: Store, role: str, ttl_ms: int = TTL_MS) -> dict[str, dict[str, Any]]:
    """Return what the living workers of a role tell about themselves, by name.

    No beat of theirs lasts over ``ttl_ms``.
    """
    keys = store.keys
    found = await store.run("alive_workers", [keys.workers(role)], [keys.worker(role, ""), ttl_ms])
    return {name.decode(): json.loads(text) for name, text in zip(found[::2], found[1::2], strict=True)}


async def leave(store: Store, role: str, name: str) -> None:
    """Say that a worker is gone, at once."""
    keys = store.keys
    await store.do_all([("DEL", keys.worker(role, name)), ("ZREM", keys.workers(role), name)], atomic=True)

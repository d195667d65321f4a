"""What people do past the workers: locks of devices, metrics that are given up. It is written down who did."""

from __future__ import annotations

from collections.abc import Sequence

from espfleet.store import audit, locks, points, registry
from espfleet.store.client import Store

#: How long somebody who locks waits for whoever holds the lock, in ms.
WAIT_MS = 600


async def lock(store: Store, *, name: str, purpose: str, ttl_ms: int) -> bool:
    """Keep everybody else from talking to a device for a while; return whether the lock was free.

    Raises:
        NotFoundError: If there is no such device.
    """
    device = (await registry.load(store)).device(name)
    taken = await locks.take(store, device.id, purpose=purpose, ttl_ms=ttl_ms, wait_ms=WAIT_MS) is not None
    if taken:
        await audit.note(store, "lock", {"device": device.name, "purpose": purpose, "ttl_ms": ttl_ms})
    return taken


async def unlock(store: Store, *, name: str, purpose: str) -> bool:
    """Open a lock, whoever holds it; return whether somebody did.

    Raises:
        NotFoundError: If there is no such device.
    """
    device = (await registry.load(store)).device(name)
    was_locked = await locks.force_open(store, device.id, purpose)
    if was_locked:
        await audit.note(store, "unlock", {"device": device.name, "purpose": purpose})
    return was_locked


async def give_up(store: Store, *, entry_ids: Sequence[str]) -> int:
    """Give entries of the outbox up, whose metrics are not sent then; return how many there were."""
    count = await points.ack(store, entry_ids=entry_ids)
    if count:
        await audit.note(store, "give up", {"entries": list(entry_ids[:100]), "count": count})
    return count

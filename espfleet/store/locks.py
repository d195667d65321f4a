"""Locks: one action at a time on one device, over all processes and machines.

A lock always has a lifetime, so whoever dies with it frees it in time. Those who wait stand in a queue and are told
when it is their turn: nobody polls, and nobody is overtaken. Each lock has a fence that grows; what a late holder
writes with an older one is refused (``store/boards.py``).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from espfleet.domain.shards import shard_of
from espfleet.errors import LockBusyError
from espfleet.store.client import Store

#: Longer than the longest exchange over HTTP (3 s) and what is written after it.
TTL_MS = 10_000
WAIT_MS = 5_000
#: A waiter looks again after this time at the latest, and counts as dead after twice and a half of it.
_LOOK_S = 1.0
_SILENT_MS = 2_500


class Lock:
    """The right of one holder to one device.

    Attributes:
        device_id: Which device.
        fence: Grows with every holder.
    """

    def __init__(self, store: Store, device_id: str, key: str, token: str, fence: int, sure_until_s: float) -> None:
        self.device_id = device_id
        self.fence = fence
        self._store = store
        self._key = key
        self._token = token
        self._sure_until_s = sure_until_s

    def __repr__(self) -> str:
        return f"Lock({self.device_id!r}, fence={self.fence})"

    @property
    def held(self) -> bool:
        """Whether it still lasts for sure, by this process's own clock; nobody is asked."""
        return time.monotonic() < self._sure_until_s

    async def release(self) -> bool:
        """Give it to whoever has waited longest; return whether it was still this holder's."""
        self._sure_until_s = 0.0
        return bool((await _ask(self._store, "release", self._key, self._token))[0])


async def take(
    store: Store, device_id: str, *, purpose: str = "request", ttl_ms: int = TTL_MS, wait_ms: int = WAIT_MS
) -> Lock | None:
    """Take a device's lock.

    Args:
        store: Where the fleet is kept.
        device_id: Which device.
        purpose: What it is for; locks of different purposes have nothing to do with each other.
        ttl_ms: How long it lasts unless it is given back before.
        wait_ms: How long to wait for it; 0 for not at all.

    Returns:
        The lock, or ``None`` if it was not free in time.
    """
    token = f"{secrets.token_hex(8)}:{ttl_ms}"
    end_s = time.monotonic() + wait_ms / 1_000
    part = shard_of(device_id, store.shards)
    key = store.keys.lock(part, device_id, purpose)
    try:
        while True:
            asked_s = time.monotonic()
            fence, busy_ms = await _ask(store, "take", key, token, _SILENT_MS if wait_ms else 0)
            left_s = end_s - time.monotonic()
            if not fence and left_s > 0:
                # Just after the present lock ends, whoever holds it: a dead holder tells nobody.
                pause_s = min(left_s, max(busy_ms, 0) / 1_000 + 0.005, _LOOK_S)
                told = await store.wait("BLPOP", store.keys.lock_turn(part, device_id, purpose, token), pause_s)
                fence = int(told[1]) if told else 0
            elif not fence:
                await _ask(store, "leave", key, token)
                return None
            if fence:
                return Lock(store, device_id, key, token, fence, asked_s + ttl_ms / 1_000)
    except BaseException:
        # Whatever happens to one that waits, the next one in the queue must not wait for it.
        await _ask(store, "leave", key, token)
        raise


@asynccontextmanager
async def locked(
    store: Store,
    device_id: str,
    *,
    name: str = "",
    purpose: str = "request",
    ttl_ms: int = TTL_MS,
    wait_ms: int = WAIT_MS,
) -> AsyncIterator[Lock]:
    """Hold a device's lock; ``name`` is how an error calls the device.

    Raises:
        LockBusyError: If it is not free within ``wait_ms``.
    """
    lock = await take(store, device_id, purpose=purpose, ttl_ms=ttl_ms, wait_ms=wait_ms)
    if lock is None:
        raise LockBusyError(name or device_id)
    try:
        yield lock
    finally:
        await lock.release()


async def force_open(store: Store, device_id: str, purpose: str) -> bool:
    """Take a lock away from whoever holds it; return whether there was one. For people."""
    return bool(await store.do("DEL", store.keys.lock(shard_of(device_id, store.shards), device_id, purpose)))


async def _ask(store: Store, what: str, key: str, token: str, silent_ms: int = 0) -> tuple[int, int]:
    fence, busy_ms = await store.run("lock", (key,), (what, token, silent_ms))
    return int(fence), int(busy_ms)

"""Leases of work: the right to a shard or a duty, which ends by itself and carries a fence.

The fence grows with every take-over, also after the server was emptied; whoever writes shows it, and a late writer is
refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from espfleet.store.client import Call, Store

#: So often in its lifetime a lease is renewed that is kept.
RENEWALS = 3


class Lease:
    """The right of one owner to one duty.

    Attributes:
        duty: ``s3`` for shard 3, or a name such as ``lead:sweep``.
        owner: Who has it.
        ttl_ms: How long it lasts from each renewal, in ms.
        fence: Number of the take-over.
    """

    def __init__(
        self, store: Store, duty: str, owner: str, ttl_ms: int, fence: int, sure_until_s: float, clock: Clock
    ) -> None:
        self.duty = duty
        self.owner = owner
        self.ttl_ms = ttl_ms
        self.fence = fence
        self._store = store
        self._keys = [store.keys.owner(duty), store.keys.fence(duty)]
        self._sure_until_s = sure_until_s
        self._clock = clock

    def __repr__(self) -> str:
        return f"Lease({self.duty!r}, {self.owner!r}, fence={self.fence})"

    @classmethod
    async def take(
        cls, store: Store, duty: str, owner: str, ttl_ms: int, *, clock: Clock = time.monotonic
    ) -> Lease | None:
        """Take a duty if it is free; the one who has it already renews it and keeps its fence.

        Args:
            store: Where the fleet is kept.
            duty: What to take.
            owner: Who takes it: a name that nobody else has.
            ttl_ms: How long it shall last, in ms.
            clock: Monotonic time in seconds.

        Returns:
            The lease, or ``None`` while somebody else has it.
        """
        asked_s = clock()
        fence = int(await store.run("take_lease", [store.keys.owner(duty), store.keys.fence(duty)], [owner, ttl_ms]))
        return cls(store, duty, owner, ttl_ms, fence, asked_s + ttl_ms / 1_000, clock) if fence else None

    @property
    def held(self) -> bool:
        """Whether it still lasts for sure, by this process's own clock; nobody is asked."""
        return self._clock() < self._sure_until_s

    async def renew(self) -> bool:
        """Let it last ``ttl_ms`` from now; return whether it was still this owner's."""
        return (await renew_all(self._store, [self]))[0]

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Renew it as long as something takes; whoever takes the lease again notices when that failed."""

        async def renew() -> None:
            held = True
            while held:
                await asyncio.sleep(self.ttl_ms / RENEWALS / 1_000)
                held = await self.renew()

        renewing = asyncio.create_task(renew(), name=f"renew {self.duty}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

    async def release(self) -> None:
        """Give it back at once; nothing happens if it has passed to another owner."""
        self._sure_until_s = 0.0
        await self._store.run("release_lease", self._keys, [self.owner, self.fence])


Clock = Callable[[], float]


async def renew_all(store: Store, leases: Sequence[Lease]) -> list[bool]:
    """Renew leases together, as ``Lease.renew`` does; return of each whether it was still its owner's."""
    asked_s = [lease._clock() for lease in leases]
    calls = [Call("renew_lease", lease._keys, [lease.owner, lease.fence, lease.ttl_ms]) for lease in leases]
    renewed = [bool(reply) for reply in await store.run_all(calls)]
    for lease, at_s, still in zip(leases, asked_s, renewed, strict=True):
        lease._sure_until_s = at_s + lease.ttl_ms / 1_000 if still else 0.0
    return renewed


async def holder(store: Store, duty: str) -> str | None:
    """Return who has a duty now, or ``None``."""
    found: bytes | None = await store.do("GET", store.keys.owner(duty))
    return found.decode() if found else None

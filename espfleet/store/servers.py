"""How the servers are set up to keep what they are told; for whoever checks an installation."""

from __future__ import annotations

from dataclasses import dataclass

from espfleet.store.client import Store


@dataclass(frozen=True, slots=True)
class Keeping:
    """How one server that takes writes keeps them.

    Attributes:
        logs: Whether it writes each change to a log (``appendonly``).
        evicts: The policy by which it throws keys away when its memory is full, or ``""``.
        replicas: How many servers follow it.
        guarded: Whether it takes no writes while too few of them do (``min-replicas-to-write``).
    """

    logs: bool
    evicts: str
    replicas: int
    guarded: bool


async def keeping(store: Store) -> list[Keeping]:
    """Return how each server that takes writes keeps them, by what it tells of itself (``INFO``).

    Raises:
        StoreUnavailableError: If one does not answer.
    """
    found = []
    for info in await store.infos():
        policy = str(info.get("maxmemory_policy", "noeviction"))
        evicts = policy if int(info.get("maxmemory", 0)) and policy != "noeviction" else ""
        found.append(
            Keeping(
                logs=bool(int(info.get("aof_enabled", 0))),
                evicts=evicts,
                replicas=int(info.get("connected_slaves", 0)),
                # Told by those alone that are set up so.
                guarded="min_slaves_good_slaves" in info,
            )
        )
    return found


async def apart_ms(store: Store) -> int:
    """Return how far the clocks of the servers that take writes are apart, in ms; the time to ask them is in it."""
    times_us = [int(info["server_time_usec"]) for info in await store.infos()]
    return (max(times_us) - min(times_us)) // 1_000

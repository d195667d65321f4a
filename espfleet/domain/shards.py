"""Who does what: shards of groups, partitions of devices, and the sharing of work among workers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from zlib import crc32


def shard_of(name: str, shards: int) -> int:
    """Return the shard of a group, the home shard of a target, or the partition of a device: 0 to ``shards`` - 1."""
    return crc32(name.encode()) % shards


def owner_of(thing: str, workers: Sequence[str]) -> str | None:
    """Return which worker has ``thing`` by rendezvous hashing, or ``None`` where there is no worker.

    A worker that comes or goes moves only the things it takes or had (Thaler and Ravishankar, 1998).
    """
    return max(workers, key=lambda worker: (_weight(thing, worker), worker), default=None)


def share_of(worker: str, workers: Sequence[str], things: Iterable[str]) -> list[str]:
    """Return those of ``things`` that ``worker`` has, in their order."""
    return [thing for thing in things if owner_of(thing, workers) == worker]


def _weight(thing: str, worker: str) -> bytes:
    return blake2b(thing.encode(), key=blake2b(worker.encode(), digest_size=32).digest(), digest_size=8).digest()

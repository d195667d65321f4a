"""Visits of devices: when each came and went, the latest 20; written by the scripts that know when it did."""

from __future__ import annotations

from espfleet.domain.shards import shard_of
from espfleet.domain.visits import KEPT, Visit
from espfleet.store.client import Store


async def read(store: Store, device_id: str) -> list[Visit]:
    """Return the past visits of a device, oldest first."""
    rows = await store.do("LRANGE", store.keys.visits(shard_of(device_id, store.shards), device_id), 0, KEPT - 1)
    return [_visit(row) for row in reversed(rows)]


def _visit(row: bytes) -> Visit:
    came_ms, went_ms = row.split()
    return Visit(int(came_ms), int(went_ms))

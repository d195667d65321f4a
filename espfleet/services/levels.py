"""The present level of every group, and nothing that is out of date."""

from __future__ import annotations

from dataclasses import replace

from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, unknown
from espfleet.store.client import Store
from espfleet.store.levels import read_levels

NOBODY = "no leveler is running"
NOT_YET = "no level has been computed yet"


async def read(store: Store, *, registry: Registry, now_ms: int) -> dict[str, GroupLevel]:
    """Return the level of each group of ``registry``, by name.

    A group whose shard no leveler owns is unknown, whatever was published before.
    """
    found = await read_levels(store)
    answer = {}
    for name in registry.groups:
        level = found.levels.get(name)
        if shard_of(name, store.shards) not in found.fresh_shards:
            seq = level.seq if level else 0
            answer[name] = replace(unknown(name, now_ms, NOBODY), seq=seq)
        else:
            answer[name] = level or unknown(name, now_ms, NOT_YET)
    return answer

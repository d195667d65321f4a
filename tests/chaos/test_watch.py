"""The watch of chaos sees when Redis loses more than it may."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.samples import Entry
from tests.chaos.watch import LOST_S, Watch

WHAT = "Redis loses its last second at most"


async def kill(store: Store, watch: Watch, kills_s: list[float], ago_s: float, lost: int) -> list[str]:
    """Look at three entries, and so long after let Redis be killed and lose the last ones; return what is told."""
    key = store.keys.samples(3)
    await samples.append(store, [Entry(3, "prober", len(kills_s) * 3 + number, "0f", b"") for number in (1, 2, 3)], 100)
    await watch._read(3)
    kills_s.append(time.monotonic() + ago_s)
    for entry_id, _ in await store.do("XREVRANGE", key, "+", "-", "COUNT", lost) if lost else []:
        await store.do("XDEL", key, entry_id)
    watch.broken.clear()
    await watch._look_for_lost()
    return watch.broken.get(WHAT, [])


async def test_what_was_there_a_second_before_a_kill_must_be_there_after_it(store: Store) -> None:
    kills_s: list[float] = []
    watch = Watch(cast(Any, SimpleNamespace(direct=store, kills_s=kills_s)), 0.0)
    assert await kill(store, watch, kills_s, LOST_S + 0.1, lost=0) == []
    (told,) = await kill(store, watch, kills_s, LOST_S + 0.1, lost=1)
    assert "shard 3" in told
    # One kill is told once.
    watch.broken.clear()
    await watch._look_for_lost()
    assert not watch.broken


async def test_what_came_in_the_last_second_may_be_lost(store: Store) -> None:
    kills_s: list[float] = []
    watch = Watch(cast(Any, SimpleNamespace(direct=store, kills_s=kills_s)), 0.0)
    assert await kill(store, watch, kills_s, 0.0, lost=3) == []

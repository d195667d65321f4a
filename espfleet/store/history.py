"""History: points of each target at three resolutions, in strings that expire.

A string holds a run of points of one target, each at its place, so that one write adds a block of them and writing a
block twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from espfleet.domain.shards import shard_of
from espfleet.domain.smoke import POINT, Point, Table, points
from espfleet.store.client import Command, Store

_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Resolution:
    """One way of keeping history.

    Attributes:
        name: What people call it.
        step_ms: Time that one point stands for.
        run: Points in one string.
        kept_ms: How far back it goes.
    """

    name: str
    step_ms: int
    run: int
    kept_ms: int

    @property
    def run_ms(self) -> int:
        """Time that one string stands for."""
        return self.run * self.step_ms

    @property
    def target_bytes(self) -> int:
        """What one target needs at most."""
        return (self.kept_ms + 2 * self.run_ms) // self.step_ms * POINT.itemsize


RESOLUTIONS = (
    Resolution("1s", 1_000, 300, 15 * 60_000),
    Resolution("10s", 10_000, 360, 3 * 3_600_000),
    Resolution("1m", 60_000, 360, 30 * 3_600_000),
)


async def write(store: Store, resolution: Resolution, first_ms: int, targets: Sequence[str], table: Table) -> None:
    """Store a block of points for each target.

    Args:
        store: Where the fleet is kept.
        resolution: Which one.
        first_ms: Time of the first point, a multiple of the step; the block lies within one string.
        targets: Names.
        table: Points, of dtype ``POINT`` [targets, points]; a count of 0 where there is none.
    """
    run, offset = divmod(first_ms // resolution.step_ms, resolution.run)
    ttl_ms = resolution.kept_ms + resolution.run_ms
    for start in range(0, len(targets), _AT_ONCE):
        commands: list[Command] = []
        for number in range(start, min(start + _AT_ONCE, len(targets))):
            key = _key(store, resolution, targets[number], run)
            commands.append(("SETRANGE", key, offset * POINT.itemsize, table[number].tobytes()))
            commands.append(("PEXPIRE", key, ttl_ms))
        await store.do_all(commands)


async def read(store: Store, resolution: Resolution, target: str, from_ms: int, to_ms: int) -> list[Point]:
    """Return the points of a target whose steps begin from ``from_ms`` to before ``to_ms``."""
    first, last = from_ms // resolution.run_ms, max(from_ms, to_ms - 1) // resolution.run_ms
    runs = range(first, last + 1)
    found: list[Point] = []
    texts = await store.do_all([("GET", _key(store, resolution, target, run)) for run in runs])
    for run, text in zip(runs, texts, strict=True):
        table = np.frombuffer(text or b"", POINT)
        times_ms = run * resolution.run_ms + np.arange(len(table), dtype=np.int64) * resolution.step_ms
        inside = (times_ms >= from_ms) & (times_ms < to_ms)
        found += points(times_ms[inside], table[inside])
    return found


def _key(store: Store, resolution: Resolution, target: str, run: int) -> str:
    return store.keys.history(shard_of(target, store.shards), resolution.name, run, target)

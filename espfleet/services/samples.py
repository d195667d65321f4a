"""What was measured of a target: the last minutes from the stream itself, the rest from its history."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espfleet.domain.samples import Layout, unpack
from espfleet.domain.smoke import Point, condense, measured, points
from espfleet.errors import InvalidError
from espfleet.services.sample_times import SampleTimes, recent
from espfleet.store import history as kept
from espfleet.store import registry
from espfleet.store import samples as stream
from espfleet.store.client import Store
from espfleet.store.history import RESOLUTIONS, Resolution
from espfleet.store.samples import ShardReader

logger = logging.getLogger(__name__)

#: A stream holds at least so much.
RAW_MS = 210_000
#: Points made of raw samples for one graph.
RAW_POINTS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Points of one target.

    Attributes:
        from_ms, to_ms: What was asked for, ms since the epoch.
        step_ms: Time that one point stands for.
        source: ``stream`` or the name of a resolution.
        points: In the order of time; steps without samples are left out.
    """

    from_ms: int
    to_ms: int
    step_ms: int
    source: str
    points: tuple[Point, ...]


async def history(
    store: Store, *, name: str, now_ms: int, span_ms: int, resolution: str = "", until_ms: int | None = None
) -> History:
    """Return what was measured of a target in the last ``span_ms``, or in as long before ``until_ms``.

    Args:
        store: Where the fleet is kept.
        name: Name of the target.
        now_ms: Current time, ms since the epoch.
        span_ms: How far back, in ms.
        resolution: ``1s``, ``10s``, ``1m``, or ``""`` for the one that suits how far back it goes.
        until_ms: Where to end, ms since the epoch; without, now.

    Raises:
        NotFoundError: If there is no such target.
        InvalidError: If there is no such resolution.
    """
    target = (await registry.latest(store)).target(name)
    to_ms = now_ms if until_ms is None else min(until_ms, now_ms)
    from_ms = to_ms - span_ms
    wanted = _resolution(resolution, now_ms - from_ms)
    if wanted is None:
        step_ms = max(1_000, target.interval_ms, -(-span_ms // RAW_POINTS) // 1_000 * 1_000)
        found = await _raw(store, name, from_ms, step_ms, now_ms)
        source = "stream"
    else:
        step_ms, source = wanted.step_ms, wanted.name
        tail = await _raw(store, name, max(from_ms, now_ms - RAW_MS), step_ms, now_ms)
        # The first step of what the stream holds may be cut.
        tail = tail[1:]
        joint_ms = tail[0].at_ms if tail else now_ms + 1
        found = [*await kept.read(store, wanted, name, from_ms - from_ms % step_ms, joint_ms), *tail]
    inside = tuple(point for point in found if point.at_ms <= to_ms)
    return History(from_ms=from_ms, to_ms=to_ms, step_ms=step_ms, source=source, points=inside)


def _resolution(name: str, span_ms: int) -> Resolution | None:
    """Return the resolution of this name, or the one that suits the span: none for what the stream holds."""
    if name:
        named = {one.name: one for one in RESOLUTIONS}
        if name not in named:
            raise InvalidError(f"{name!r} is not a resolution: use one of {', '.join(named)}", field="resolution")
        return named[name]
    if span_ms <= RAW_MS:
        return None
    return next((one for one in RESOLUTIONS[1:] if span_ms <= one.kept_ms), RESOLUTIONS[-1])


async def _raw(store: Store, name: str, from_ms: int, step_ms: int, now_ms: int) -> list[Point]:
    """Return points made of the samples that the stream still holds."""
    shard = (await registry.latest(store)).shards_of_target(name, store.shards)[0]
    layouts: dict[str, Layout | None] = {}
    sent_ms: list[int] = []
    values: list[float] = []
    newest: dict[str, int] = {}
    entries = await recent(ShardReader(store, shard, "history"), now_ms, now_ms - from_ms)
    times = SampleTimes(store, entries, now_ms)
    for entry in entries:
        if entry.seq <= newest.get(entry.worker, 0):
            continue
        newest[entry.worker] = entry.seq
        if entry.layout_id not in layouts:
            layouts[entry.layout_id] = await stream.get_layout(store, shard, entry.layout_id)
        layout = layouts[entry.layout_id]
        if layout is None or name not in layout.targets:
            continue
        try:
            batch = unpack(entry.blob)
        except InvalidError as exc:
            logger.warning("shard %d: entry %s is not usable: %s", shard, entry.entry_id, exc)
            continue
        place = np.searchsorted(batch.slots, layout.targets.index(name))
        if place < len(batch.slots) and batch.slots[place] == layout.targets.index(name):
            found = times.right(entry.offset, batch.sent_ms())
            if found is not None:
                sent_ms.append(int(found[place]))
                values.append(float(batch.rtt_us[place]))
    rtt_us = np.array(values, np.float32)
    at_ms = np.array(sent_ms, np.int64)
    said = measured(rtt_us) & (at_ms >= from_ms)
    steps: npt.NDArray[np.int64] = at_ms[said] // step_ms
    keys, table = condense(steps, rtt_us[said])
    return points(keys * step_ms, table)

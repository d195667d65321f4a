"""A prober's share as lanes: targets of one interval, probed by one engine, written to one stream per shard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from espfleet.domain.samples import MAX_BATCH, Batch, Floats, Layout, Slots, pack
from espfleet.probes.outcomes import Endpoint, Engine, Round

#: A flush holds at most this many samples an entry, so that an entry stays a few kilobytes.
ENTRY_SAMPLES = 1_000
assert ENTRY_SAMPLES <= MAX_BATCH


@dataclass(frozen=True)
class ShardView:
    """How the slots of an engine map to one shard's layout.

    Attributes:
        shard: Number of the shard.
        layout: The engine's targets that belong to it, in the engine's order.
        slot_of: Slot in the layout of each slot of the engine, -1 where the target is not in it; int32 [n].
        first, stretch: Slot of the engine that has slot 0 of the layout, and how many slots of the engine there are
            to one of the layout on average.
    """

    shard: int
    layout: Layout
    slot_of: Slots
    first: int
    stretch: float


def shard_views(
    endpoints: Sequence[Endpoint], interval_ms: int, shards_of: Mapping[str, Sequence[int]]
) -> tuple[ShardView, ...]:
    """Return a view for each shard that one of an engine's endpoints belongs to."""
    by_shard: dict[int, list[int]] = {}
    for slot, endpoint in enumerate(endpoints):
        for shard in shards_of[endpoint.name]:
            by_shard.setdefault(shard, []).append(slot)
    timeout_ms = max(endpoint.timeout_ms for endpoint in endpoints)
    found = []
    for shard, slots in sorted(by_shard.items()):
        slot_of = np.full(len(endpoints), -1, np.int32)
        slot_of[slots] = np.arange(len(slots), dtype=np.int32)
        layout = Layout(interval_ms, timeout_ms, tuple(endpoints[slot].name for slot in slots))
        stretch = (slots[-1] - slots[0]) / (len(slots) - 1) if len(slots) > 1 else 1.0
        found.append(ShardView(shard, layout, slot_of, slots[0], stretch))
    return tuple(found)


@dataclass
class Lane:
    """One engine with what it has brought back and not yet written.

    Attributes:
        engine: Probes the lane's targets.
        views: The lane's targets by shard.
        waiting: Samples not yet written.
        waiting_since_ns: When the oldest of them became known, monotonic clock; 0 while there is none.
        flushed_ns: When samples were written last, monotonic clock.
    """

    engine: Engine
    views: tuple[ShardView, ...]
    waiting: int = 0
    waiting_since_ns: int = 0
    flushed_ns: int = 0
    _rounds: dict[int, list[Round]] = field(default_factory=dict)

    def collect(self, rounds: Sequence[Round], now_ns: int) -> None:
        """Keep what a tick of the engine brought back."""
        for part in rounds:
            if len(part.slots):
                self._rounds.setdefault(part.number, []).append(part)
                self.waiting += len(part.slots)
        if self.waiting and not self.waiting_since_ns:
            self.waiting_since_ns = now_ns

    def take(self, ahead_ns: int) -> Iterator[tuple[ShardView, bytes, int]]:
        """Yield everything that waits as packed entries with their number of samples, and forget it.

        Args:
            ahead_ns: How far the clock of Redis is ahead of the monotonic one.
        """
        rounds, self._rounds = self._rounds, {}
        self.waiting = self.waiting_since_ns = 0
        for _, parts in sorted(rounds.items()):
            slots, rtt_us = _joined(parts)
            for view in self.views:
                yield from _entries(view, parts[0], slots, rtt_us, ahead_ns)


def _joined(parts: Sequence[Round]) -> tuple[Slots, Floats]:
    """Return the samples of one round, by slot."""
    if len(parts) == 1:
        return parts[0].slots, parts[0].rtt_us
    slots = np.concatenate([part.slots for part in parts])
    rtt_us = np.concatenate([part.rtt_us for part in parts])
    order = np.argsort(slots, kind="stable")
    return slots[order], rtt_us[order]


def _entries(
    view: ShardView, sent: Round, slots: Slots, rtt_us: Floats, ahead_ns: int
) -> Iterator[tuple[ShardView, bytes, int]]:
    here: Slots = view.slot_of[slots]
    inside: npt.NDArray[np.bool_] = here >= 0
    if not inside.all():
        here, rtt_us = here[inside], rtt_us[inside]
    at_ns = sent.at_ns + ahead_ns + view.first * sent.step_ns
    step_ns = round(sent.step_ns * view.stretch)
    for start in range(0, len(here), ENTRY_SAMPLES):
        part = Batch(here[start : start + ENTRY_SAMPLES], rtt_us[start : start + ENTRY_SAMPLES], at_ns, step_ns)
        yield view, pack(part), len(part.slots)

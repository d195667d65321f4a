"""Streams keep what is promised, and not much more: reckoned with streams that are cut as Redis cuts them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from espfleet.domain.shards import shard_of
from espfleet.services import targets
from espfleet.store import samples, workers
from espfleet.store.client import Store
from espfleet.store.samples import Entry
from espfleet.workers.prober import Prober, ProberSettings
from espfleet.workers.retention import MARGIN, Retention
from tests.conftest import wait_until

SHARDS = 8
KEPT_S = 240
#: Entries that are written to a stream in a second at most, by one prober: one each 50 ms.
FULL = 20


class Streams:
    """Streams of samples, as the times at which their entries were written, and probers that write and cut them."""

    def __init__(self) -> None:
        self.now_s = 0
        self.entries: list[list[int]] = [[] for _ in range(SHARDS)]
        self.probers: dict[str, tuple[Retention, Counter[int]]] = {}

    def start(self, name: str) -> None:
        lengths = [len(stream) for stream in self.entries]
        self.probers[name] = Retention(KEPT_S, lengths, self.now_s), Counter()

    def run(self, seconds: int, **per_s: Mapping[int, float]) -> None:
        """Let probers write so many entries a second to each shard; who is not named is dead."""
        self.probers = {name: self.probers[name] for name in per_s}
        for _ in range(seconds):
            self.now_s += 1
            for name, (retention, made) in self.probers.items():
                keep = retention.entries()
                for shard, rate in per_s[name].items():
                    new = int(self.now_s * rate) - int((self.now_s - 1) * rate)
                    made[shard] += new
                    if new:
                        self.entries[shard] = [*self.entries[shard], *[self.now_s] * new][-keep[shard] :]
            for name, (retention, made) in self.probers.items():
                others = [one.own_per_s for other, (one, _) in self.probers.items() if other != name]
                retention.follow(made, others, self.now_s)

    def reach_s(self, shard: int) -> int:
        """Return how far back a stream goes."""
        return self.now_s - self.entries[shard][0]


@pytest.fixture
def streams() -> Streams:
    made = Streams()
    made.start("a")
    return made


@pytest.mark.parametrize("rates", [{3: FULL}, dict.fromkeys(range(SHARDS), FULL), {1: 5, 2: 20, 3: 33.3}])
def test_each_stream_keeps_what_is_promised_and_not_much_more(streams: Streams, rates: Mapping[int, float]) -> None:
    streams.run(800, a=rates)
    for shard in rates:
        assert KEPT_S <= streams.reach_s(shard) <= 1.2 * MARGIN * KEPT_S


def test_a_stream_with_hardly_any_entries_keeps_the_least(streams: Streams) -> None:
    streams.run(1_500, a={3: 1})
    assert len(streams.entries[3]) == samples.LEAST_KEPT
    assert streams.probers["a"][0].entries()[4] == samples.LEAST_KEPT


def test_what_one_prober_writes_another_keeps(streams: Streams) -> None:
    streams.start("b")
    rates = {3: FULL, 4: 10}
    streams.run(800, a=rates, b=rates)
    for shard in rates:
        assert KEPT_S <= streams.reach_s(shard) <= 1.2 * MARGIN * KEPT_S


def test_nothing_is_cut_too_early_when_a_prober_dies_and_its_targets_fill_the_entries_of_another(
    streams: Streams,
) -> None:
    streams.start("b")
    streams.run(500, a={3: FULL}, b={3: FULL})
    for _ in range(80):
        streams.run(10, a={3: FULL})
        assert streams.reach_s(3) >= KEPT_S
    assert streams.reach_s(3) <= 1.2 * MARGIN * KEPT_S


@pytest.mark.parametrize("left", [0.05, 0.3, 0.6, 0.9])
def test_nothing_is_cut_too_early_when_most_targets_go(streams: Streams, left: float) -> None:
    streams.run(500, a={3: FULL})
    for _ in range(60):
        streams.run(10, a={3: FULL * left})
        assert streams.reach_s(3) >= KEPT_S


def test_a_prober_that_begins_anew_lets_the_past_be(streams: Streams) -> None:
    streams.run(500, a={3: FULL})
    streams.start("b")
    for _ in range(40):
        streams.run(10, b={3: FULL})
        assert streams.reach_s(3) >= KEPT_S
    streams.run(400, b={3: FULL})
    assert streams.reach_s(3) <= 1.2 * MARGIN * KEPT_S


def test_what_an_older_prober_does_not_tell_is_no_rate(streams: Streams) -> None:
    retention, made = streams.probers["a"]
    made[3] = FULL
    retention.follow(made, [(), [1.0]], 1.0)
    assert retention.entries()[3] == round(FULL * KEPT_S * MARGIN)


async def test_each_stream_is_cut_at_its_own_length(store: Store) -> None:
    entries = [Entry(shard, "prober-1", number, "0f", b"") for number in range(5_000) for shard in (1, 2)]
    await samples.append(store, entries, {1: 3_000})
    lengths = await samples.lengths(store)
    assert 3_000 <= lengths[1] < 3_200
    assert samples.LEAST_KEPT <= lengths[2] < samples.LEAST_KEPT + 200
    assert sum(lengths) == lengths[1] + lengths[2]


async def test_a_prober_tells_how_much_it_writes_to_each_stream(store: Store) -> None:
    for number in range(5):
        await targets.add(store, name=f"t{number}", address="sim://calm", interval_ms=100)
    shard = shard_of("default", store.shards)
    probing = asyncio.create_task(Prober(store, ProberSettings(name="prober-1")).run())

    async def told() -> dict[str, Any]:
        info = (await workers.alive(store, "prober")).get("prober-1", {})
        return info if info.get("entries_per_s") else {}

    async def writes() -> bool:
        return bool(await told())

    try:
        await wait_until(writes)
        info = await told()
    finally:
        probing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await probing
    rates = info["shard_entries_per_s"]
    assert len(rates) == store.shards
    assert rates[shard] == info["entries_per_s"] > 0

"""Samples keep their order and their distances, whichever clock was wrong or was set, and whoever had to wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from espfleet.services.sample_times import AHEAD_MS, SampleTimes, recent
from espfleet.store.client import Store
from espfleet.store.clock import Offset
from espfleet.store.samples import ShardReader, StreamEntry

HOUR_MS = 3_600_000
#: By a clock that nobody sets.
NOW_MS = 500_000


@dataclass
class Reader:
    """Stands for the store of whoever reads: it knows its own machine's offset."""

    known: Offset

    def offset(self) -> Offset:
        return self.known


@dataclass(frozen=True)
class Sample:
    """Sent then by the clock of its machine that nobody sets, while Redis's was so far ahead of that."""

    at_ms: int
    ahead_ms: int
    machine: str = "here"

    @property
    def sent_ms(self) -> int:
        return self.at_ms + self.ahead_ms


def righted(samples: Sequence[Sample], ahead_ms: int, machine: str = "here") -> list[int | None]:
    """Return what a reader of that machine takes them for, while Redis's clock is so far ahead of its own."""
    entries = [
        StreamEntry(f"{number + 1}-1", "prober", number, "0f", b"", Offset(one.machine, one.ahead_ms))
        for number, one in enumerate(samples)
    ]
    store = Reader(Offset(machine, ahead_ms))
    times = SampleTimes(store, entries, NOW_MS + ahead_ms)  # type: ignore[arg-type]
    found = [
        times.right(entry.offset, np.array([sample.sent_ms], np.int64))
        for entry, sample in zip(entries, samples, strict=True)
    ]
    return [None if one is None else int(one[0]) - ahead_ms for one in found]


def series(from_ms: int, until_ms: int, ahead_ms: int, machine: str = "here") -> list[Sample]:
    return [Sample(at_ms, ahead_ms, machine) for at_ms in range(from_ms, until_ms, 200)]


def test_times_by_a_clock_that_nobody_set_stay_as_they_are() -> None:
    # Offsets are never known quite exactly.
    samples = [Sample(at_ms, 1_000_000 + at_ms % 7) for at_ms in range(0, NOW_MS, 1_000)]
    assert righted(samples, 1_000_003) == [one.sent_ms - 1_000_003 for one in samples]


@pytest.mark.parametrize("set_ms", [-HOUR_MS, -60_000, -5_000, 5_000, 60_000, HOUR_MS])
@pytest.mark.parametrize("reader", ["here", "elsewhere"])
def test_what_was_sent_while_the_clock_of_redis_was_wrong_keeps_its_place(set_ms: int, reader: str) -> None:
    samples = [*series(0, 4_000, 0), *series(4_000, 8_000, set_ms), *series(8_000, 9_000, 0)]
    ahead_ms = {"here": 0, "elsewhere": 123_456}[reader]
    assert righted(samples, ahead_ms, reader) == [one.at_ms - ahead_ms for one in samples]


@pytest.mark.parametrize("set_ms", [-HOUR_MS, -60_000, 60_000, HOUR_MS])
def test_once_the_clock_of_redis_is_set_all_that_was_sent_before_goes_by_the_new_one(set_ms: int) -> None:
    samples = series(0, NOW_MS, 0)
    # The probers have not heard of it yet, but the reader has.
    assert righted(samples, set_ms) == [one.at_ms for one in samples]


def test_machines_that_started_at_different_times_are_told_apart() -> None:
    here, there = series(0, 2_000, 1_000_000), series(70_000, 72_000, 930_000, "there")
    assert righted([*here, *there], 1_000_000) == [one.sent_ms - 1_000_000 for one in (*here, *there)]


def test_nobody_knows_when_a_dead_machine_sent_what_lies_in_the_future() -> None:
    dead = [Sample(0, HOUR_MS, "dead"), Sample(200, HOUR_MS, "dead")]
    assert righted([*dead, *series(1_000, 2_000, 0)], 0) == [None, None, 1_000, 1_200, 1_400, 1_600, 1_800]
    # Some clocks differ a little.
    latest = NOW_MS + AHEAD_MS
    assert righted([Sample(latest, 0, "there"), Sample(latest + 1, 0, "there")], 0) == [latest, None]


async def test_what_tells_no_offset_is_taken_as_it_is_unless_it_lies_in_the_future(store: Store) -> None:
    now_ms = await store.time_ms()
    times = SampleTimes(store, [], now_ms)
    sent_ms = np.array([now_ms - 200, now_ms], np.int64)
    assert times.right(None, sent_ms) is sent_ms
    assert times.right(None, sent_ms + HOUR_MS) is None


async def write(store: Store, ids_ms: Sequence[int], offset: Offset) -> list[str]:
    """Write an entry at each of these times by the clock of Redis."""
    words = ("w", "prober", "q", 1, "l", "0f", "b", b"", "c", offset.to_text())
    return [(await store.do("XADD", store.keys.samples(3), f"{at_ms}-*", *words)).decode() for at_ms in ids_ms]


async def recent_ids(store: Store, now_ms: int) -> list[str]:
    return [entry.entry_id for entry in await recent(ShardReader(store, 3, "test"), now_ms, 60_000)]


async def test_of_a_stream_is_read_what_is_wanted(store: Store) -> None:
    now_ms, offset = await store.time_ms(), Offset("here", 5)
    ids = await write(store, range(now_ms - 100_000, now_ms, 1_000), offset)
    assert await recent_ids(store, now_ms) == ids[40:]


@pytest.mark.parametrize("set_ms", [-HOUR_MS, -30_000, 30_000, HOUR_MS])
async def test_of_a_stream_is_read_more_when_the_clock_was_set_meanwhile(store: Store, set_ms: int) -> None:
    now_ms, offset = await store.time_ms(), Offset("here", 5)
    ids = await write(store, range(now_ms - 30_000 - set_ms, now_ms - 10_000 - set_ms, 1_000), offset)
    # Ids never go back.
    then_ms = now_ms - 10_000 if set_ms > 0 else int(ids[-1].partition("-")[0])
    ids += await write(store, [then_ms] * 10, Offset("here", 5 + set_ms))
    assert await recent_ids(store, now_ms) == ids


async def test_of_a_stream_is_read_more_when_the_clock_was_set_by_less_than_is_wanted(store: Store) -> None:
    now_ms, offset = await store.time_ms(), Offset("here", 5)
    ids = await write(store, range(now_ms - 130_000, now_ms - 40_000, 1_000), offset)
    ids += await write(store, range(now_ms - 10_000, now_ms, 1_000), Offset("here", 5 + 30_000))
    # The last 60 s begin 90 s before now by the clock that was.
    assert await recent_ids(store, now_ms) == ids


async def test_of_a_stream_is_read_more_when_little_is_in_it(store: Store) -> None:
    now_ms, offset = await store.time_ms(), Offset("here", 5)
    ids = await write(store, range(now_ms - 1_000_000, now_ms, 100_000), offset)
    assert await recent_ids(store, now_ms) == ids

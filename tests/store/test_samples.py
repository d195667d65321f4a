"""The stream of samples: written, read once, taken over, and what is missing noticed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from espfleet.domain.samples import Layout
from espfleet.store import samples
from espfleet.store.client import Store
from espfleet.store.samples import Entry, ShardReader, StreamEntry, read_shards

LAYOUT = Layout(1_000, 500, ("router", "example.org"))


async def write(store: Store, *numbers: int, shard: int = 3, keep: int = 1_000) -> None:
    entries = [Entry(shard, "prober-1", number, LAYOUT.layout_id, bytes([number % 256])) for number in numbers]
    await samples.append(store, entries, keep)


def numbers(entries: list[StreamEntry]) -> list[int]:
    return [entry.seq for entry in entries]


@pytest.fixture
async def reader(store: Store) -> AsyncIterator[ShardReader]:
    await samples.init_consumers(store)
    made = ShardReader(store, 3, "leveler-1")
    yield made
    await made.stop()


async def pending(store: Store) -> int:
    count: int = (await store.redis.xpending(store.keys.samples(3), samples.GROUP))["pending"]
    return count


# --- written and read


async def test_what_is_written_is_read_once_in_order(store: Store, reader: ShardReader) -> None:
    await write(store, 1, 2, 3)
    first = await reader.read(100, 2)
    assert numbers(first) == [1, 2]
    assert (first[0].worker, first[0].layout_id, first[0].blob) == ("prober-1", LAYOUT.layout_id, b"\1")
    assert numbers(await reader.read(100, 2)) == [3]
    assert await reader.read(10, 2) == []
    await reader.ack([entry.entry_id for entry in first])
    assert await pending(store) == 1


async def test_a_waiting_reader_gets_what_comes(store: Store, reader: ShardReader) -> None:
    reading = asyncio.create_task(reader.read(2_000, 10))
    await asyncio.sleep(0.05)
    await write(store, 1)
    assert numbers(await reading) == [1]


async def test_several_shards_are_read_at_once(store: Store) -> None:
    await samples.init_consumers(store)
    readers = [ShardReader(store, shard, "leveler-1") for shard in (1, 3, 5)]
    assert await read_shards(store, readers, 10, 10) == {}
    await write(store, 1, shard=1)
    await write(store, 2, 3, shard=5)
    found: dict[int, list[int]] = {1: [], 5: []}
    reads = 0
    while sum(map(len, found.values())) < 3:
        for shard, entries in (await read_shards(store, readers, 1_000, 10)).items():
            found[shard] += numbers(entries)
        reads += 1
    assert found == {1: [1], 5: [2, 3]}
    # On a Cluster nobody waits for another server.
    assert reads == 1 or store.on_cluster
    assert await read_shards(store, [], 10, 10) == {}
    for reader in readers:
        await reader.stop()


async def test_a_stream_is_cut(store: Store) -> None:
    await write(store, *range(2_000), keep=100)
    assert 100 <= await store.redis.xlen(store.keys.samples(3)) < 300


async def test_groups_are_made_once(store: Store) -> None:
    assert await samples.init_consumers(store) == [store.keys.samples(shard) for shard in range(8)]
    assert await samples.init_consumers(store) == []


async def test_layouts_are_kept_and_missing_ones_told(store: Store) -> None:
    entry = Entry(3, "prober-1", 1, LAYOUT.layout_id, b"")
    assert await samples.append(store, [entry, entry], 100) == {(3, LAYOUT.layout_id)}
    await samples.put_layout(store, 3, LAYOUT)
    assert await samples.append(store, [entry], 100) == set()
    assert await samples.get_layout(store, 3, LAYOUT.layout_id) == LAYOUT
    assert await samples.get_layout(store, 4, LAYOUT.layout_id) is None
    assert await samples.append(store, [], 100) == set()


# --- restarted, taken over


async def test_a_reader_that_starts_again_gets_what_it_did_not_acknowledge(store: Store, reader: ShardReader) -> None:
    await write(store, 1, 2, 3)
    first = await reader.read(100, 2)
    await reader.ack([first[0].entry_id])

    again = ShardReader(store, 3, "leveler-1")
    assert numbers(await again.read(100, 10)) == [2]
    assert numbers(await again.read(100, 10)) == [3]


async def test_a_reader_that_is_cancelled_loses_nothing(store: Store, reader: ShardReader) -> None:
    got: list[int] = []
    for number in range(20):
        reading = asyncio.create_task(reader.read(500, 10))
        await asyncio.sleep(0.002 * (number % 4))
        await write(store, number)
        reading.cancel()
        [answer] = await asyncio.gather(reading, return_exceptions=True)
        if isinstance(answer, list):
            got += numbers(answer)
            await reader.ack([entry.entry_id for entry in answer])
    while entries := await reader.read(10, 10):
        got += numbers(entries)
        await reader.ack([entry.entry_id for entry in entries])
    assert sorted(got) == list(range(20))


async def test_a_new_owner_claims_what_the_old_one_left(store: Store, reader: ShardReader) -> None:
    await write(store, *range(10))
    await reader.read(100, 6)
    heir = ShardReader(store, 3, "leveler-2")
    claimed = await heir.claim_all()
    assert numbers(claimed) == [0, 1, 2, 3, 4, 5]
    assert numbers(await heir.read(100, 10)) == [6, 7, 8, 9]
    await heir.ack([entry.entry_id for entry in claimed])
    assert await pending(store) == 4


async def test_history_is_what_the_stream_holds_since_a_time(store: Store, reader: ShardReader) -> None:
    await write(store, *range(1_500), keep=10_000)
    await reader.read(100, 10)
    found = await ShardReader(store, 3, "why").since("-")
    assert numbers(found) == list(range(1_500))
    last_ms = int(found[-1].entry_id.partition("-")[0])
    assert await reader.since(str(last_ms + 1)) == []
    assert numbers(await reader.since(str(last_ms)))[-1] == 1_499


# --- lost groups, cut streams


async def test_readers_survive_a_flush(store: Store, reader: ShardReader) -> None:
    await write(store, 1)
    await reader.read(100, 10)
    await store.redis.flushall()
    assert await reader.read(10, 10) == []
    await write(store, 2)
    assert numbers(await reader.read(1_000, 10)) == [2]


async def test_a_flush_under_a_waiting_reader_is_survived(store: Store, reader: ShardReader) -> None:
    assert await reader.read(10, 10) == []
    reading = asyncio.create_task(reader.read(1_000, 10))
    await asyncio.sleep(0.05)
    await store.redis.flushall()
    await write(store, 1)
    found = await reading or await reader.read(1_000, 10)
    assert numbers(found) == [1]


async def test_claiming_without_a_group_makes_it(store: Store) -> None:
    await write(store, 1)
    reader = ShardReader(store, 3, "leveler-1")
    assert await reader.claim_all() == []
    assert numbers(await reader.read(100, 10)) == [1]


async def test_entries_cut_off_before_they_were_read_are_counted(store: Store, reader: ShardReader) -> None:
    await write(store, *range(100))
    assert len(await reader.read(100, 30)) == 30
    await store.redis.xtrim(store.keys.samples(3), maxlen=20, approximate=False)
    assert numbers(await reader.read(100, 100)) == list(range(80, 100))
    assert reader.gaps == 50

    await write(store, 100)
    assert numbers(await reader.read(100, 100)) == [100]
    assert reader.gaps == 50


async def test_a_cut_that_spares_unread_entries_is_no_gap(store: Store, reader: ShardReader) -> None:
    await write(store, *range(100))
    await reader.read(100, 80)
    await store.redis.xtrim(store.keys.samples(3), maxlen=20, approximate=False)
    assert len(await reader.read(100, 80)) == 20
    again = ShardReader(store, 3, "leveler-1")
    assert len(await again.read(10, 100)) == 20
    assert (reader.gaps, again.gaps) == (0, 80)


async def test_a_new_reader_knows_of_a_gap_before_its_time(store: Store, reader: ShardReader) -> None:
    await write(store, *range(100))
    await reader.ack([entry.entry_id for entry in await reader.read(100, 30)])
    await store.redis.xtrim(store.keys.samples(3), maxlen=20, approximate=False)
    heir = ShardReader(store, 3, "leveler-2")
    assert len(await heir.read(100, 100)) == 20
    assert heir.gaps == 50

"""How many samples a second one core of this machine brings through Redis, each way, and what they take up there.

Sweeps of 1,000 targets go through a real embedded server: a batch is packed and appended, read by the consumer group,
unpacked and acknowledged. The peer sends the same samples as everybody's first try does: one entry a sample, with its
fields as text; it has the same client, the same pipelines, and reads as many entries at once. Both are charged the CPU
time of this process; that of the server is in the note.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report import report
from espfleet.domain.samples import Batch, pack, unpack
from espfleet.store import samples
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.samples import Entry, ShardReader

CAP_S = 120
RUNS = 7
TARGETS = 1_000
SWEEPS = 600
#: Entries in one call: as many sweeps as a worker with 1,000 targets sends at most.
AT_ONCE = 100
PEER_SWEEPS = 10
PEER_AT_ONCE = 1_000
SHARD = 3
START_NS = 1_700_000_000_000_000_000
SEED = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run brought: samples per second of this process's CPU, bytes a sample, and server CPU in µs a sample."""

    written: float
    read: float
    sample_bytes: float
    server_us: float


def sweeps(count: int) -> list[Batch]:
    """Return rounds over all targets: log-normal round-trip times with 2 % losses."""
    rng = np.random.default_rng((SEED, count))
    slots = np.arange(TARGETS, dtype=np.int32)
    batches = []
    for number in range(count):
        rtt_us = np.exp(rng.normal(9.5, 0.8, TARGETS)).astype(np.float32)
        rtt_us[rng.random(TARGETS) < 0.02] = np.nan
        batches.append(Batch(slots, rtt_us, START_NS + number * 1_000_000_000, 1_000_000))
    return batches


async def write_packed(store: Store, batches: list[Batch]) -> None:
    for start in range(0, len(batches), AT_ONCE):
        entries = [
            Entry(SHARD, "prober-host-4711-a1b2", start + number, "0123456789abcdef", pack(batch), store.offset())
            for number, batch in enumerate(batches[start : start + AT_ONCE], 1)
        ]
        await samples.append(store, entries, keep=100_000)


async def read_packed(store: Store, batches: list[Batch]) -> None:
    reader = ShardReader(store, SHARD, "leveler")
    number = 0
    while number < len(batches):
        entries = await reader.read(1_000, AT_ONCE)
        for entry in entries:
            batch = unpack(entry.blob)
            if number % 97 == 0:
                assert np.array_equal(batch.rtt_us, batches[number].rtt_us, equal_nan=True)
            number += 1
        await reader.ack([entry.entry_id for entry in entries])


async def write_text(store: Store, batches: list[Batch]) -> None:
    stream = store.keys.samples(SHARD)
    for batch in batches:
        rows = zip(batch.slots.tolist(), batch.sent_ms().tolist(), batch.rtt_us.tolist(), strict=True)
        commands = [
            ("XADD", stream, "MAXLEN", "~", 1_000_000, "*", "t", f"target-{slot}", "at", at_ms, "rtt", f"{rtt_us:.1f}")
            for slot, at_ms, rtt_us in rows
        ]
        await store.do_all(commands)


async def read_text(store: Store, batches: list[Batch]) -> None:
    stream = store.keys.samples(SHARD)
    rtt_us: dict[bytes, float] = {}
    left = TARGETS * len(batches)
    command = ("XREADGROUP", "GROUP", samples.GROUP, "leveler", "COUNT", PEER_AT_ONCE, "STREAMS", stream, ">")
    while left:
        [[_, entries]] = await store.do(*command)
        for _, fields in entries:
            rtt_us[fields[b"t"]] = float(fields[b"rtt"])
        await store.do("XACK", stream, samples.GROUP, *(entry_id for entry_id, _ in entries))
        left -= len(entries)


Way = Callable[[Store, list[Batch]], Awaitable[None]]


async def measure(store: Store, batches: list[Batch], write: Way, read: Way) -> Figures:
    """Send samples through an empty server, and back."""
    count = TARGETS * len(batches)
    await store.do("FLUSHALL", "SYNC")
    await samples.init_consumers(store)
    used_bytes = -await used_memory_bytes(store)
    server_s = -await server_cpu_s(store)
    begin_s = time.process_time()
    await write(store, batches)
    written_s = time.process_time() - begin_s
    used_bytes += await used_memory_bytes(store)
    begin_s = time.process_time()
    await read(store, batches)
    read_s = time.process_time() - begin_s
    server_s += await server_cpu_s(store)
    return Figures(count / written_s, count / read_s, used_bytes / count, server_s / count * 1e6)


async def server_cpu_s(store: Store) -> float:
    told = await store.do("INFO", "cpu")
    return float(told["used_cpu_user"] + told["used_cpu_sys"])


async def used_memory_bytes(store: Store) -> int:
    """Return all that the server has allocated, so that what its allocator adds counts too."""
    return int((await store.do("INFO", "memory"))["used_memory"])


async def run(url: str) -> tuple[list[Figures], list[Figures]]:
    """Let the two take turns, so that a busy machine harms both alike."""
    batches = sweeps(SWEEPS)
    ours, peer = [], []
    async with open_store(url, name="bench") as store:
        # Once for nothing: whatever is done only the first time is over then.
        await measure(store, batches[:AT_ONCE], write_packed, read_packed)
        await measure(store, batches[:1], write_text, read_text)
        for _ in range(RUNS):
            ours.append(await measure(store, batches, write_packed, read_packed))
            peer.append(await measure(store, batches[:PEER_SWEEPS], write_text, read_text))
    return ours, peer


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="ef") as folder, embedded_server(Path(folder)) as url:
        ours, peer = asyncio.run(run(url))
    name = "one XADD a sample, fields as text"
    server_us = [float(np.median([one.server_us for one in some])) for some in (ours, peer)]
    note = f"server CPU for both ways together: {server_us[0]:.4f} µs a sample, the peer's {server_us[1]:.2f} µs"
    for promise, field, bound, unit in (
        ("samples written to Redis per second and core, sweeps of 1,000 targets", "written", "ours >= 20e6", "1/s"),
        ("samples read from Redis per second and core, sweeps of 1,000 targets", "read", "ours >= 20e6", "1/s"),
        ("bytes a sample takes up in Redis, sweeps of 1,000 targets", "sample_bytes", "ours <= 4.5", "bytes"),
    ):
        report(
            promise,
            [getattr(one, field) for one in ours],
            [getattr(one, field) for one in peer],
            bound=bound,
            unit=unit,
            peer_name=name,
            note=note,
        )


if __name__ == "__main__":
    main()

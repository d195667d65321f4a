"""The server dies, stalls or forgets in mid-run: what was written is not lost, and all goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

import pytest

from espfleet.domain.states import GroupLevel, State
from espfleet.errors import LeaseLostError, StoreError, StoreUnavailableError
from espfleet.store import client, levels, samples, workers
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease
from espfleet.store.samples import Entry, ShardReader
from tests.chaos import clocks
from tests.chaos.proxy import FaultProxy
from tests.conftest import wait_until
from tests.store.conftest import Embedded, all_noticed


@pytest.fixture
async def fleet(embedded: Embedded) -> AsyncIterator[Store]:
    """A fleet on a server that the test may kill, opened as workers do: nothing is sent twice."""
    async with open_store(embedded.url, name="test", retries=0) as opened:
        yield opened


class Traffic:
    """One writer and one reader of a shard's stream, each going on after every failure."""

    def __init__(self, store: Store) -> None:
        self.sent: list[int] = []
        self.got: list[int] = []
        self.outages = 0
        self.outage_s = 0.0
        self._store = store

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._again(self._write))
            reader = ShardReader(self._store, 3, "leveler-1")
            tasks.create_task(self._again(lambda: self._read(reader)))

    async def _again(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            begin_s = time.monotonic()
            try:
                await step()
            except StoreError:
                self.outages += 1
                self.outage_s = max(self.outage_s, time.monotonic() - begin_s)
                await asyncio.sleep(0.02)

    async def _write(self) -> None:
        number = len(self.sent)
        await samples.append(self._store, [Entry(3, "prober-1", number, "0f", b"x")], 100_000)
        self.sent.append(number)
        await asyncio.sleep(0.002)

    async def _read(self, reader: ShardReader) -> None:
        entries = await reader.read(200, 100)
        self.got += [entry.seq for entry in entries]
        await reader.ack([entry.entry_id for entry in entries])


@contextlib.asynccontextmanager
async def traffic(store: Store) -> AsyncIterator[Traffic]:
    """Run traffic; afterwards, everything sent must be read."""
    flow = Traffic(store)
    running = asyncio.create_task(flow.run())
    await wait_until(lambda: len(flow.got) > 20)
    yield flow
    count = len(flow.sent)
    await wait_until(lambda: len(flow.got) > count + 20)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    reader = ShardReader(store, 3, "leveler-1")
    while entries := await reader.read(50, 1_000):
        flow.got += [entry.seq for entry in entries]
        await reader.ack([entry.entry_id for entry in entries])
    assert set(flow.sent) <= set(flow.got)


async def test_nothing_is_lost_when_the_server_is_killed(embedded: Embedded, fleet: Store) -> None:
    async with traffic(fleet) as flow:
        embedded.kill()
        await wait_until(lambda: flow.outages > 3)
        await asyncio.to_thread(embedded.revive)
    assert flow.outage_s < 2.0


async def test_nothing_is_lost_when_the_server_is_restarted(embedded: Embedded, fleet: Store) -> None:
    async with traffic(fleet) as flow:
        embedded.end()
        await wait_until(lambda: flow.outages > 3)
        await asyncio.to_thread(embedded.revive)


@pytest.mark.slow
async def test_a_stall_is_noticed_and_nothing_is_lost(
    embedded: Embedded, fleet: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.5)
    monkeypatch.setattr(client, "MAX_BLOCK_MS", 200)
    monkeypatch.setattr(client, "STALLED_AFTER_S", 0.5)
    async with open_store(embedded.url, name="test", retries=0) as hasty, traffic(hasty) as flow:
        embedded.stop()
        await wait_until(lambda: flow.outages >= 2)
        embedded.go_on()


async def test_a_stalled_server_is_told_as_such(embedded: Embedded, fleet: Store) -> None:
    async with open_store(embedded.url, name="test", retries=0, answer_within_s=0.2) as hasty:
        embedded.stop()
        with pytest.raises(StoreUnavailableError, match="does not answer: no answer in time"):
            await hasty.time_ms()
        embedded.go_on()
        assert await hasty.time_ms()


async def test_a_command_is_sent_again_over_a_broken_connection_where_that_is_wanted(embedded: Embedded) -> None:
    async with open_store(embedded.url, name="test", retries=3) as patient:
        await patient.time_ms()
        embedded.kill()
        await asyncio.to_thread(embedded.revive)
        assert await patient.time_ms()


async def test_a_leveler_gets_back_to_work_after_a_flush(fleet: Store) -> None:
    level = GroupLevel(group="a", level=7, state=State.OK, at_ms=1_000)
    reader = ShardReader(fleet, 3, "leveler-1")
    await samples.append(fleet, [Entry(3, "prober-1", 1, "0f", b"x")], 1_000)
    assert [entry.seq for entry in await reader.read(100, 10)] == [1]
    lease = await Lease.take(fleet, "s3", "leveler-1", 2_000)
    assert lease is not None
    before = await levels.publish(fleet, 3, lease.fence, [level], 1_000)

    await fleet.redis.flushall()
    await fleet.redis.script_flush()

    await samples.append(fleet, [Entry(3, "prober-1", 2, "0f", b"x")], 1_000)
    found = await reader.read(100, 10) or await reader.read(100, 10)
    assert [entry.seq for entry in found] == [2]
    assert not await lease.renew()
    with pytest.raises(LeaseLostError):
        await levels.publish(fleet, 3, lease.fence, [level], 1_000)
    again = await Lease.take(fleet, "s3", "leveler-1", 2_000)
    assert again is not None
    assert await levels.publish(fleet, 3, again.fence, [level], 1_000) > before
    assert not await workers.beat(fleet, "leveler", "leveler-1", {})
    assert (await fleet.settle())["shards"] == fleet.shards


async def test_connections_that_were_cut_meanwhile_fail_nobody_once_the_way_is_free(embedded: Embedded) -> None:
    proxy = FaultProxy([Path(unquote(urlsplit(embedded.url).path))], Random(1))
    await proxy.start()
    url = f"redis://127.0.0.1:{proxy.port}/0"
    try:
        async with open_store(url, name="test", retries=0) as fleet:

            async def eight_at_once() -> None:
                await asyncio.gather(*(Lease.take(fleet, f"s{number}", "test", 3_000) for number in range(8)))
                await asyncio.gather(*(fleet.do("GET", fleet.keys.owner(f"s{number}")) for number in range(8)))

            await eight_at_once()
            assert proxy.connections > 8
            await proxy.cut()
            with pytest.raises(StoreUnavailableError):
                await fleet.time_ms()
            proxy.heal()
            await wait_until(lambda: proxy.connections == 0)
            await all_noticed(fleet)
            await eight_at_once()
    finally:
        await proxy.stop()


@pytest.mark.package("faketime")
async def test_a_wait_begins_anew_when_the_clock_of_the_server_is_set_back(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = clocks.Clock(data.parent / "clock")
    clock.set(600)
    with monkeypatch.context() as patched, contextlib.ExitStack() as stack:
        for name, value in clock.environ.items():
            patched.setenv(name, value)
        url = stack.enter_context(embedded_server(data))
        pid = int((data / "redis.pid").read_text())
        async with open_store(url, name="test", retries=0) as fleet:
            await samples.init_consumers(fleet)
            reader = ShardReader(fleet, 3, "leveler-1")
            assert await reader.read(300, 10) == []
            clock.set(0)
            took_s = 0.0

            async def read_on() -> None:
                nonlocal took_s
                for _ in range(100):
                    begun_s = time.monotonic()
                    try:
                        await reader.read(300, 10)
                    finally:
                        took_s = time.monotonic() - begun_s

            # The server counts its waits by its own clock: the one that is under way would end in ten minutes.
            with pytest.raises(StoreUnavailableError, match="no answer in time"):
                await read_on()
            assert took_s < 6, "that is how long it takes until a server counts as stalled"
            await samples.append(fleet, [Entry(3, "prober-1", 1, "0f", b"x")], 100)
            assert [entry.seq for entry in await reader.read(300, 10)] == [1]
    clocks.forget(pid)

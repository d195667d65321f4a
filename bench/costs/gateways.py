"""What lamps cost a gateway, Redis and the network; what levels cost that nobody here watches; what reports cost.

``python -m bench.costs.gateways URL`` is a gateway as it is, but for the period: levels are sent only when they
change, so that what is sent is what the bench counts. Its watchdog is the usual one, so Redis is told of each lamp
that was heard, each second.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.costs.meters import Meters, per_second, used_bytes
from bench.gateway import allow_files, masked, memory_kib, open_lamp, set_up
from bench.peers.lamps import Lamps, lamps
from bench.slopes import Point
from espfleet.domain.groups import Group
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.gateway.server import GatewaySettings, Limits, run_gateway
from espfleet.store import events, levels, presence, readings, registry
from espfleet.store.client import DEFAULT_SHARDS, Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease
from espfleet.store.readings import Report
from espfleet.store.registry import Change

SIZES = (1_000, 4_000, 8_000)
#: Redis is told of all lamps that came within this time.
TOLD_WITHIN_MS = 4_000
#: How often each lamp sends a keepalive, ms, and how often the level changes, 1/s.
MODES = ((1_000, 0), (1_000, 2), (500, 0), (1_000, 4))
#: How often levels change, 1/s, and how many of them change together.
HEARD = ((0, 0), (10, 100), (10, 300), (40, 25), (40, 75))
LISTENERS = (0, 10, 30)
#: What other gateways tell, 1/s: numbers that lamps reported, many together, and lamps that came, one by one.
OTHERS = ((0, 0), (4_000, 0), (12_000, 0), (0, 300), (0, 900))
#: Keepalives with numbers in them, 1/s, of so many lamps: each tells some at most once a second, so none are joined.
REPORTS = (0, 600, 2_000)
REPORTING = 2_000
MEASURED_S = 3.0
SETTLE_S = 1.2
UNWATCHED = tuple(f"group-{number}" for number in range(300))
#: What the program of lamps says at every tenth keepalive.
VALUES = {"shown": 12, "late_ms": 0, "rssi_dbm": -61, "heap_bytes": 71_232, "uptime_ms": 86_400_000}
FULL = {"type": "keepalive", **VALUES}
CAME = {"presence": "live", "reason": None, "gateway": "another", "since_ms": 1, "stays": False}


@dataclass
class Found:
    """What was found of lamps that came and that lived, of levels and other gateways, of listeners, of reports."""

    crowds: list[Point] = field(default_factory=list)
    busy: list[Point] = field(default_factory=list)
    heard: list[Point] = field(default_factory=list)
    others: list[Point] = field(default_factory=list)
    listeners: list[Point] = field(default_factory=list)
    reports: list[Point] = field(default_factory=list)


def measure() -> Found:
    """Measure everything once."""
    found = Found()
    for count in SIZES:
        asyncio.run(serve_lamps(found, count))
    asyncio.run(tell_levels(found))
    asyncio.run(take_reports(found))
    return found


async def serve_lamps(found: Found, count: int) -> None:
    """Measure one crowd: how it comes, what it takes, and what it costs while it does something."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder:
        async with a_fleet() as (store, url):
            empty_bytes = await used_bytes(store)
            hellos = await set_up(store, count)
            rows_bytes = await used_bytes(store)
            async with Publisher(store, ("wan",)) as publisher, a_gateway(url) as (pid, port):
                await asyncio.sleep(SETTLE_S)
                meters = Meters(store, {"gateway": pid})
                begun, begun_kib = await meters.read(), memory_kib(pid)
                with lamps(Path(folder), port, hellos) as crowd:
                    opened = await crowd.asked("connect 200")
                    assert opened["open"] == count, opened
                    # Redis is told after the lamps were welcomed. What they cost meanwhile by being there is taken off.
                    await crowd.asked(f"live 1000 {TOLD_WITHIN_MS}")
                    there = await meters.read()
                    await crowd.asked(f"live 1000 {TOLD_WITHIN_MS}")
                    later = await meters.read()
                    costs = {name: 2 * there[name] - begun[name] - later[name] for name in ("gateway", "redis")}
                    costs["begin_kib"], costs["come_kib"] = begun_kib, memory_kib(pid) - begun_kib
                    costs["row_bytes"] = rows_bytes - empty_bytes
                    costs["session_bytes"] = await used_bytes(store) - rows_bytes
                    found.crowds.append(({"lamps": count}, costs))
                    for every_ms, changes in MODES:
                        publisher.changes = changes
                        found.busy.append(await one_mode(meters, crowd, count, every_ms))


async def one_mode(meters: Meters, crowd: Lamps, count: int, every_ms: int) -> Point:
    """Let lamps live for a while; return what they did in a second, and what that cost."""
    await crowd.asked(f"live {every_ms} {round(SETTLE_S * 1_000)}")
    living = asyncio.create_task(crowd.asked(f"live {every_ms} {round((MEASURED_S + 0.2) * 1_000)}"))
    await asyncio.sleep(0.1)
    before = await meters.read()
    await asyncio.sleep(MEASURED_S)
    after = await meters.read()
    did = await living
    assert did["open"] == count, "lamps were lost"
    over_s = MEASURED_S + 0.2
    return (
        {"lamps": count, "keepalives": did["sent"] / over_s, "levels": did["frames"] / over_s},
        per_second(before, after),
    )


async def tell_levels(found: Found) -> None:
    """Measure what levels cost a gateway whose lamps watch none of them, and Redis for each who listens."""
    async with a_fleet() as (store, url):
        await registry.change(
            store, lambda _: [Change("groups", name, Group(name=name).to_dict()) for name in UNWATCHED]
        )
        async with Publisher(store, UNWATCHED) as publisher:
            async with a_gateway(url) as (pid, _):
                meters = Meters(store, {"gateway": pid})
                for mode in HEARD:
                    found.heard.append(await publish(publisher, meters, *mode))
                publisher.changes = 0
                for reports, arrivals in OTHERS:
                    found.others.append(await tell(store, meters, reports, arrivals))
            for count in LISTENERS:
                async with listeners(store, url, count):
                    did, costs = await publish(publisher, Meters(store, {}), *HEARD[-1])
                    # As if it had been told as often as it should: the bench is not always as quick.
                    share = HEARD[-1][0] * HEARD[-1][1] / did["levels"]
                    sizes = {"messages": did["messages"] * share * count}
                    found.listeners.append((sizes, {"redis": costs["redis"] * share}))


async def publish(publisher: Publisher, meters: Meters, changes: int, together: int) -> Point:
    """Publish levels for a while; return how many it were in a second, and what that cost."""
    publisher.changes, publisher.together = changes, together
    await asyncio.sleep(SETTLE_S)
    before, told, messages = await meters.read(), publisher.told, publisher.messages
    await asyncio.sleep(MEASURED_S)
    after = await meters.read()
    passed_s = after["at_s"] - before["at_s"]
    did = {"levels": (publisher.told - told) / passed_s, "messages": (publisher.messages - messages) / passed_s}
    return did, per_second(before, after)


async def tell(store: Store, meters: Meters, reports: int, arrivals: int) -> Point:
    """Tell what other gateways tell, for a while; return how much it was in a second, and what that cost."""
    told = [0, 0]

    async def work() -> None:
        begun_s = time.monotonic()
        while True:
            passed_s = time.monotonic() - begun_s
            if (due := round(passed_s * reports) - told[0]) >= reports // 4 > 0:
                some = {f"03be{number:08x}": Report(VALUES, 1_790_000_000_000) for number in range(due)}
                await readings.tell(store, some)
                told[0] += due
            if (due := round(passed_s * arrivals) - told[1]) > 0:
                came = [{**CAME, "device": f"03be{number:08x}"} for number in range(due)]
                await events.add_all(store, presence.EVENT, came)
                told[1] += due
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    try:
        await asyncio.sleep(SETTLE_S)
        before, began = await meters.read(), tuple(told)
        await asyncio.sleep(MEASURED_S)
        after = await meters.read()
    finally:
        working.cancel()
        await asyncio.wait([working])
    passed_s = after["at_s"] - before["at_s"]
    rates = [(now - then) / passed_s for now, then in zip(told, began, strict=True)]
    return {"reports": rates[0], "arrivals": rates[1]}, per_second(before, after)


@asynccontextmanager
async def listeners(store: Store, url: str, count: int) -> AsyncIterator[None]:
    """Listen to all levels, so many times, and throw away what comes."""
    channels = " ".join(store.keys.levels_channel(shard) for shard in range(store.shards))

    async def listen() -> None:
        reader, writer = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        try:
            writer.write(f"SUBSCRIBE {channels}\r\n".encode())
            while await reader.read(2**20):
                pass
        finally:
            writer.close()

    listening = [asyncio.create_task(listen()) for _ in range(count)]
    try:
        yield
    finally:
        for one in listening:
            one.cancel()
        await asyncio.gather(*listening, return_exceptions=True)


async def take_reports(found: Found) -> None:
    """Measure keepalives with everything in them: the gateway reads them, and Redis keeps them."""
    async with a_fleet() as (store, url):
        hellos = await set_up(store, REPORTING)
        async with Publisher(store, ("wan",)), a_gateway(url) as (pid, port):
            meters = Meters(store, {"gateway": pid})
            crowd = await asyncio.to_thread(lambda: [open_lamp(port, "/lamp", hello) for hello in hellos])
            try:
                for per_s in REPORTS:
                    await asyncio.to_thread(report, crowd, per_s, SETTLE_S)
                    before = await meters.read()
                    await asyncio.to_thread(report, crowd, per_s, MEASURED_S)
                    found.reports.append(({"reports": per_s}, per_second(before, await meters.read())))
            finally:
                for lamp in crowd:
                    lamp.close()


def report(crowd: list[socket.socket], per_s: int, for_s: float) -> None:
    """Let each lamp send a bare keepalive a second, and some of them report, so many in a second together."""
    bare, full = masked('{"type":"keepalive"}'), masked(json.dumps(FULL, separators=(",", ":")))
    begun_s = time.monotonic()
    alive = told = 0
    while (passed_s := time.monotonic() - begun_s) < for_s:
        while alive < passed_s * len(crowd):
            crowd[alive % len(crowd)].send(bare)
            alive += 1
        while told < passed_s * per_s:
            crowd[told % len(crowd)].send(full)
            told += 1
        time.sleep(0.01)


class Publisher:
    """Publishes levels of groups as levelers do, and keeps all shards fresh.

    Attributes:
        changes: How often levels change, 1/s.
        together: How many of the groups change then; 0 for all.
        told: How many levels were published.
        messages: In how many messages, one for each shard.
    """

    def __init__(self, store: Store, groups: tuple[str, ...]) -> None:
        self.changes = 0
        self.together = 0
        self.told = self.messages = 0
        self._store = store
        self._groups = groups
        self._leases: dict[int, Lease] = {}
        self._number = 0

    async def __aenter__(self) -> Publisher:
        for shard in range(self._store.shards):
            lease = await Lease.take(self._store, f"s{shard}", "bench", 600_000)
            assert lease is not None
            self._leases[shard] = lease
        await self._tell(len(self._groups))
        self._work = [asyncio.create_task(self._change()), asyncio.create_task(self._beat())]
        return self

    async def __aexit__(self, *_: object) -> None:
        for work in self._work:
            work.cancel()
        await asyncio.wait(self._work)

    async def _beat(self) -> None:
        while True:
            for shard, lease in self._leases.items():
                await levels.publish(self._store, shard, lease.fence, [], 1)
            await asyncio.sleep(1)

    async def _change(self) -> None:
        due_s = time.monotonic()
        while True:
            if not self.changes:
                due_s = time.monotonic()
                await asyncio.sleep(0.05)
                continue
            due_s += 1 / self.changes
            await asyncio.sleep(max(due_s - time.monotonic(), 0))
            await self._tell(self.together or len(self._groups))

    async def _tell(self, count: int) -> None:
        self._number += 1
        by_shard: dict[int, list[GroupLevel]] = {}
        for name in self._groups[:count]:
            level = GroupLevel(group=name, level=self._number % 40, state=State.OK, at_ms=1)
            by_shard.setdefault(shard_of(name, self._store.shards), []).append(level)
        for shard, some in by_shard.items():
            await levels.publish(self._store, shard, self._leases[shard].fence, some, 1)
        self.told += count
        self.messages += len(by_shard)


@asynccontextmanager
async def a_fleet(shards: int = DEFAULT_SHARDS) -> AsyncIterator[tuple[Store, str]]:
    """Run a Redis of its own, for a fleet of so many shards."""
    with tempfile.TemporaryDirectory(prefix="ef") as data, embedded_server(Path(data)) as url:
        async with open_store(url, name="bench", shards=shards) as store:
            yield store, url


@asynccontextmanager
async def a_gateway(url: str) -> AsyncIterator[tuple[int, int]]:
    """Run the gateway of this module; yield its process and its port."""
    with started([sys.executable, "-m", "bench.costs.gateways", url]) as process:
        assert process.stdout is not None
        yield process.pid, int(await asyncio.to_thread(process.stdout.readline))


@contextmanager
def started(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run a process that says something."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def be_gateway(url: str, say: Callable[[int], None]) -> None:
    """Be the gateway."""
    settings = GatewaySettings(
        port=0,
        name=f"bench-{os.getpid()}",
        period_ms=600_000,
        lease_ms=600_000,
        limits=Limits(messages_per_s=1_000_000, blocked_ms=600_000),
    )
    async with open_store(url, name="gateway") as store:
        await run_gateway(store, settings, say)


if __name__ == "__main__":
    allow_files()
    asyncio.run(be_gateway(sys.argv[1], lambda port: print(port, flush=True)))

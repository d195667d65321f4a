"""The holder of a duty is killed, or Redis is: how soon does the work go on?

Two probers, two levelers and two stewards share the work of a fleet with 1,000 targets in 20 groups, each group
watched by a lamp; all run as processes with the settings that users have. A killed prober's targets go on when the
other one has all of them (each is probed when its interval has passed), a killed leveler's shards when the other one
has published all of them, and a killed steward's duties when the other one holds all of them. Redis is killed (``kill
-9``) and started again, at once and after six seconds: levels flow when the probers write samples of all shards again
and each lamp has got a level that is newer than the kill. It is back when its supervisor starts it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from websockets.asyncio.client import connect

from bench.reply_to_lamp import wait_for_port
from bench.report import report
from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.messages import KEEPALIVE
from espfleet.domain.rooms import Room
from espfleet.domain.shards import shard_of
from espfleet.domain.states import State
from espfleet.domain.targets import Target
from espfleet.domain.tokens import hash_token, new_token
from espfleet.store import registry, workers
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server, revive
from espfleet.store.leases import holder
from espfleet.store.registry import Change
from espfleet.workers import exporter, history, keeper, outages, steward
from tests.whole.fleet import Fleet, Workers

CAP_S = 420.0

ROUNDS = 3
TARGETS = 1_000
GROUPS = 20
#: How long Redis is away.
ABSENCES_S = (0.0, 6.0)
LATEST_S = 60.0
LOOK_S = 0.01
SETTLE_S = 2.0
DUTIES = (steward.SWEEP_DUTY, outages.DUTY, history.DUTY, keeper.DUTY, exporter.DUTY)
CAST = ("steward", "steward", "leveler", "leveler", "prober", "prober", "gateway")
PROBER = "a prober killed, 1,000 targets: all its targets are the other's"
LEVELER = "a leveler killed, 1,000 targets: all its shards are published by the other"
STEWARD = "a steward killed: all its duties are held by the other"
REDIS = "Redis killed and started again, 1,000 targets: samples and levels flow"
BOUNDS = {PROBER: "ours <= 3", LEVELER: "ours <= 3", STEWARD: "ours <= 3", REDIS: "ours <= 5"}


@dataclass
class Lamp:
    """What a lamp was told last: the number of the level, and whether it says something about the network."""

    group: str
    seq: int = 0
    known: bool = False


class World:
    """Everything that runs.

    Attributes:
        store: The fleet.
        lamps: One a group.
    """

    def __init__(self, store: Store, data: Path, workers: Workers, lamps: list[Lamp]) -> None:
        self.store = store
        self.lamps = lamps
        self.data = data
        self._workers = workers
        self._running: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, worker: str) -> None:
        """Start a worker."""
        process = self._workers.start(worker)
        self._running[process.pid] = process

    async def kill_holder(self, duties: Sequence[str]) -> list[str]:
        """Kill the worker that holds the most of some duties; return those it held."""
        held: dict[int, list[str]] = {}
        for duty in duties:
            # Workers are named by host, process and chance.
            pid = int((await holder(self.store, duty) or "").split("-")[-2])
            held.setdefault(pid, []).append(duty)
        pid = max(held, key=lambda one: len(held[one]))
        self._kill(pid)
        return held[pid]

    async def kill_prober(self) -> str:
        """Kill the prober with the most targets; return its name."""
        shares = await self.shares()
        name = max(shares, key=lambda one: shares[one])
        self._kill(int(name.split("-")[-2]))
        return name

    async def shares(self) -> dict[str, int]:
        """Return how many targets each living prober has."""
        return {name: int(info["targets"]) for name, info in (await workers.alive(self.store, "prober")).items()}

    def _kill(self, pid: int) -> None:
        process = self._running.pop(pid)
        process.kill()
        process.wait()

    async def kill_redis(self, absence_s: float) -> float:
        """Kill Redis, and start it again after a while; return when, on the monotonic clock."""
        os.kill(int((self.data / "redis.pid").read_text()), signal.SIGKILL)
        await asyncio.sleep(absence_s)
        back_s = time.monotonic()
        await asyncio.to_thread(revive, self.data)
        return back_s

    async def settled(self) -> None:
        """Wait until everything is as it should be."""
        shards = [f"s{shard}" for shard in range(self.store.shards)]

        async def all_well() -> bool:
            levelers = {await holder(self.store, shard) for shard in shards}
            shares = await self.shares()
            shared = len(shares) == CAST.count("prober") and sum(shares.values()) == TARGETS
            known = shared and None not in levelers and all(lamp.known for lamp in self.lamps)
            return known and len(levelers) == CAST.count("leveler") and await all_held(self.store, DUTIES)

        await until(all_well)
        await asyncio.sleep(SETTLE_S)
        await until(all_well)


def main() -> None:
    """Measure and report."""
    found = asyncio.run(measure())
    for promise, waits_s in found.items():
        note = f"the latest of all {max(waits_s):.2f} s"
        if promise is REDIS:
            note += f"; away for {' and '.join(f'{one:g}' for one in ABSENCES_S)} s"
        report(promise, waits_s, unit="s", bound=BOUNDS[promise], note=note)


async def measure() -> dict[str, list[float]]:
    """Return how long each took in each round, s."""
    found: dict[str, list[float]] = {promise: [] for promise in BOUNDS}
    async with running() as world:
        for _ in range(ROUNDS):
            await world.settled()
            found[PROBER].append(await prober_killed(world))
            world.start("prober")
            await world.settled()
            found[LEVELER].append(await leveler_killed(world))
            world.start("leveler")
            await world.settled()
            found[STEWARD].append(await steward_killed(world))
            world.start("steward")
            for absence_s in ABSENCES_S:
                await world.settled()
                found[REDIS].append(await redis_killed(world, absence_s))
    return found


@asynccontextmanager
async def running() -> AsyncIterator[World]:
    """Run a fleet, and lamps that are told its levels."""
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ef")))
        url = stack.enter_context(embedded_server(home / ".espfleet"))
        store = await stack.enter_async_context(open_store(url, name="bench"))
        tokens = [new_token() for _ in range(GROUPS)]
        await registry.change(store, lambda _: changes(tokens))
        # Where metrics go matters not, only that somebody has the duty.
        fleet = Fleet(home, REDIS_URL=url, DATADOG_URL="http://127.0.0.1:9", DATADOG_API_KEY="k3y")
        lamps = [Lamp(f"g{number}") for number in range(GROUPS)]
        world = World(store, home / ".espfleet", Workers(fleet, stack.enter_context(ExitStack())), lamps)
        first, *others = CAST
        world.start(first)
        # So that one of the two has all duties to begin with.
        await until(partial(all_held, store, DUTIES))
        for worker in others:
            world.start(worker)
        await asyncio.to_thread(wait_for_port, fleet.port)
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        living = [
            tasks.create_task(live(lamp, fleet.port, hello(number, token)))
            for number, (lamp, token) in enumerate(zip(lamps, tokens, strict=True))
        ]
        yield world
        for one in living:
            one.cancel()


def changes(tokens: Sequence[str]) -> list[Change]:
    """Return the whole fleet: its targets in groups, and each group watched by the lamp of a room."""
    targets = [Target(name=f"t{number}", address=f"sim://calm?seed={number}") for number in range(TARGETS)]
    found = [Change("targets", target.name, target.to_dict()) for target in targets]
    for number, token in enumerate(tokens):
        name = f"g{number}"
        group = Group(name=name, targets=tuple(target.name for target in targets[number::GROUPS]))
        lamp = Device(id=f"02be{number:08x}", name=f"bench-{number}", room=name, token_hashes=(hash_token(token),))
        found += [
            Change("groups", name, group.to_dict()),
            Change("rooms", name, Room(name=name, group=name).to_dict()),
            Change("devices", lamp.id, lamp.to_dict()),
        ]
    return found


def hello(number: int, token: str) -> str:
    """Return what a lamp says first."""
    return json.dumps({"type": "hello", "protocol": 1, "id": f"02be{number:08x}", "token": token})


async def live(lamp: Lamp, port: int, text: str) -> None:
    """Be a lamp, until cancelled."""
    async with connect(f"ws://127.0.0.1:{port}/lamp", proxy=None, compression=None, ping_interval=None) as link:

        async def keep_alive() -> None:
            while True:
                await asyncio.sleep(1)
                await link.send(KEEPALIVE)

        await link.send(text)
        beating = asyncio.create_task(keep_alive())
        try:
            async for told in link:
                row = json.loads(told)
                if "seq" in row:
                    lamp.seq, lamp.known = row["seq"], row["state"] == State.OK
        finally:
            beating.cancel()
    raise AssertionError(f"the lamp of {lamp.group} was sent away")


async def prober_killed(world: World) -> float:
    """Kill a prober; return how long it took until the other one had all targets, s."""
    killed = await world.kill_prober()
    killed_s = time.monotonic()

    async def moved() -> bool:
        shares = await world.shares()
        return killed not in shares and sum(shares.values()) == TARGETS

    await until(moved)
    return time.monotonic() - killed_s


async def leveler_killed(world: World) -> float:
    """Kill a leveler; return how long it took until all its shards were published again, s."""
    store = world.store
    shards = [f"s{shard}" for shard in range(store.shards)]
    fences = {shard: await store.do("GET", store.keys.fence(shard)) for shard in shards}
    lost = [int(shard[1:]) for shard in await world.kill_holder(shards)]
    killed_s, killed_ms = time.monotonic(), await store.time_ms()

    async def published() -> bool:
        found = await store.do_all(
            [(("GET", store.keys.fence(f"s{shard}"))) for shard in lost]
            + [("GET", store.keys.beat(shard)) for shard in lost]
        )
        new = [fence != fences[f"s{shard}"] for shard, fence in zip(lost, found[: len(lost)], strict=True)]
        return all(new) and all(int(at_ms or 0) > killed_ms for at_ms in found[len(lost) :])

    await until(published)
    return time.monotonic() - killed_s


async def steward_killed(world: World) -> float:
    """Kill a steward; return how long it took until all its duties were held again, s."""
    before = {duty: await holder(world.store, duty) for duty in DUTIES}
    lost = await world.kill_holder(DUTIES)
    killed_s = time.monotonic()

    async def held() -> bool:
        return all([await holder(world.store, duty) not in (None, before[duty]) for duty in lost])

    await until(held)
    return time.monotonic() - killed_s


async def redis_killed(world: World, absence_s: float) -> float:
    """Kill Redis and start it again; return how long from then until samples and levels flowed, s."""
    store = world.store
    shards = {shard_of(lamp.group, store.shards) for lamp in world.lamps}
    seqs = {lamp.group: lamp.seq for lamp in world.lamps}
    entries = {shard: await newest(store, shard) for shard in shards}
    back_s = await world.kill_redis(absence_s)

    async def flowing() -> bool:
        told = all(lamp.known and lamp.seq > seqs[lamp.group] for lamp in world.lamps)
        return told and all([await newest(store, shard) > entries[shard] for shard in shards])

    await until(flowing)
    return time.monotonic() - back_s


async def all_held(store: Store, duties: Sequence[str]) -> bool:
    """Tell whether somebody has each of these duties."""
    return all([await holder(store, duty) for duty in duties])


async def newest(store: Store, shard: int) -> tuple[int, ...]:
    """Return the id of the newest entry of samples."""
    found = await store.do("XREVRANGE", store.keys.samples(shard), "+", "-", "COUNT", 1)
    return tuple(int(part) for part in found[0][0].split(b"-")) if found else (0, 0)


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(LATEST_S):
        while True:
            if await happens():
                return
            await asyncio.sleep(LOOK_S)


if __name__ == "__main__":
    main()

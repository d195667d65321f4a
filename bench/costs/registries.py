"""What a registered device costs every process of the fleet: reading the registry, reading it again, holding it.

``python -m bench.costs.registries URL`` does as a gateway does: it reads the registry, then again after one change,
and tells what that took, and for how long nothing else went on meanwhile.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import time

from bench.costs.gateways import VALUES, a_fleet, started
from bench.costs.meters import info
from bench.gateway import cpu_s, memory_kib
from bench.slopes import Point
from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.rooms import Room
from espfleet.domain.shards import shard_of
from espfleet.domain.tokens import hash_token
from espfleet.gateway.passes import Directory
from espfleet.store import readings, registry
from espfleet.store.client import Store, open_store
from espfleet.store.registry import Change

SIZES = (10_000, 40_000, 100_000)
AT_ONCE = 10_000
AGAIN = 3
MINUTES = (200, 600, 1_440)
LAMP = "02be00000001"


async def measure() -> list[Point]:
    """Measure everything once."""
    async with a_fleet() as (store, url):
        found: list[Point] = []
        known = 0
        for count in SIZES:
            await add(store, known, count)
            known = count
            server = (await info(store))["process_id"]
            before_s = cpu_s(server)
            with started([sys.executable, "-m", "bench.costs.registries", url]) as process:
                assert process.stdout is not None
                told = json.loads(await asyncio.to_thread(process.stdout.readline))
            redis_us = (cpu_s(server) - before_s) * 1e6 / (1 + AGAIN)
            found.append(({"devices": count}, {**told, "redis": redis_us}))
        return found


async def kept() -> list[Point]:
    """Return how much memory the readings of a lamp take in Redis after so many minutes."""
    async with a_fleet() as (store, _):
        found: list[Point] = []
        part = shard_of(LAMP, store.shards)
        keys = store.keys.readings(part, LAMP), store.keys.minutes(part, LAMP)
        for minute in range(1, max(MINUTES) + 1):
            values = {**VALUES, "uptime_ms": 60_000 * minute, "rssi_dbm": -60 - minute % 7}
            await readings.put(store, LAMP, values, 1_790_000_000_000 + 60_000 * minute)
            if minute in MINUTES:
                sizes = await store.do_all([("MEMORY", "USAGE", key, "SAMPLES", 0) for key in keys])
                found.append(({"minutes": minute}, {"bytes": sum(sizes)}))
        return found


async def add(store: Store, known: int, count: int) -> None:
    """Register devices until there are ``count``."""
    if not known:
        rooms = [Change("groups", "wan", Group(name="wan").to_dict())]
        rooms += [Change("rooms", f"room-{n}", Room(name=f"room-{n}", group="wan").to_dict()) for n in range(100)]
        await registry.apply(store, rooms, await registry.version(store))
    for first in range(known, count, AT_ONCE):
        some = [
            Device(id=f"{n:012x}", name=f"lamp-{n}", room=f"room-{n % 100}", token_hashes=(hash_token(str(n)),))
            for n in range(first, min(first + AT_ONCE, count))
        ]
        changes = [Change("devices", device.id, device.to_dict()) for device in some]
        await registry.apply(store, changes, await registry.version(store))


async def follow(url: str) -> dict[str, float]:
    """Do as a gateway does; return CPU of the first reading and of those after a change, µs, and the longest stall."""
    async with open_store(url, name="bench") as store:
        gc.collect()
        before_kib = memory_kib(os.getpid())
        first_us, _ = await read(store)
        kib = memory_kib(os.getpid()) - before_kib
        gc.freeze()
        again = []
        for number in range(AGAIN):
            room = Room(name=f"room-{number}", group="wan", brightness=50 + number)
            change = Change("rooms", room.name, room.to_dict())
            await registry.apply(store, [change], await registry.version(store))
            again.append(await read(store))
        return {
            "first": first_us,
            "again": sorted(spent for spent, _ in again)[AGAIN // 2],
            "stall": sorted(stall for _, stall in again)[AGAIN // 2],
            "kib": kib,
        }


async def read(store: Store) -> tuple[float, float]:
    """Return the CPU of reading the registry once, µs, and for how long nothing else went on, µs."""
    stalls = [0.0]
    ticking = asyncio.create_task(tick(stalls))
    await asyncio.sleep(0)
    begun_s = time.process_time()
    Directory(await registry.load(store))
    await asyncio.sleep(0.002)
    spent_us = (time.process_time() - begun_s) * 1e6
    ticking.cancel()
    return spent_us, max(stalls) * 1e6


async def tick(stalls: list[float]) -> None:
    """Note how long each turn of the loop takes."""
    while True:
        at_s = time.thread_time()
        await asyncio.sleep(0)
        stalls.append(time.thread_time() - at_s)


if __name__ == "__main__":
    print(json.dumps(asyncio.run(follow(sys.argv[1]))), flush=True)

"""What a target costs: prober, leveler, steward, Redis, and the memory of each.

All run as users run them, in a network namespace of its own; each target is an address of loopback that is
probed once a second, in groups of fifty.
"""

from __future__ import annotations

import asyncio

from bench.costs.gateways import a_fleet
from bench.costs.meters import Meters, per_second, used_bytes
from bench.gateway import memory_kib
from bench.growth import known, worker
from bench.prober import addresses
from bench.slopes import Point
from espfleet.domain.groups import Group
from espfleet.domain.targets import Target
from espfleet.store import registry, workers
from espfleet.store.client import Store
from espfleet.store.registry import Change

SIZES = (1_000, 5_000, 10_000, 20_000)
A_GROUP = 50
#: As many as a fleet has unless its settings say otherwise; the costs that depend on them say so.
SHARDS = 4
MEASURED_S = 5.0
SETTLE_S = 4.0


def measure() -> list[Point]:
    """Measure everything once."""
    return [asyncio.run(probe(count)) for count in SIZES]


async def probe(count: int) -> Point:
    """Return what so many targets cost: CPU, µs in a second, memory, and bytes in the streams."""
    async with a_fleet(SHARDS) as (store, url):
        empty_bytes = await used_bytes(store)
        await registry.change(store, lambda _: changes(count))
        row_bytes = await used_bytes(store) - empty_bytes
        with worker("leveler", url) as leveler, worker("prober", url) as prober, worker("steward", url) as steward:
            await known(store, count)
            await asyncio.sleep(SETTLE_S)
            meters = Meters(store, {"prober": prober.pid, "leveler": leveler.pid, "steward": steward.pid})
            before, samples = await meters.read(), await taken(store)
            await asyncio.sleep(MEASURED_S)
            after = await meters.read()
            per_s = (await taken(store) - samples) / (after["at_s"] - before["at_s"])
            # On a machine that does something else too, fewer samples come; costs are counted for those that do.
            assert per_s > 0.3 * count, f"only {per_s:,.0f} of {count:,} samples came in a second"
            return (
                {"targets": count, "samples": per_s},
                {
                    **per_second(before, after),
                    "prober_kib": memory_kib(prober.pid),
                    "leveler_kib": memory_kib(leveler.pid),
                    "steward_kib": memory_kib(steward.pid),
                    "row_bytes": row_bytes,
                    "sample_bytes": await stream_bytes(store) / await taken(store) * count,
                },
            )


def changes(count: int) -> list[Change]:
    """Return so many targets in groups."""
    some = [Target(name=f"t{number}", address=ip) for number, ip in enumerate(addresses(count))]
    names = tuple(target.name for target in some)
    groups = [Group(name=f"g{at}", targets=names[at : at + A_GROUP]) for at in range(0, count, A_GROUP)]
    return [
        *(Change("targets", target.name, target.to_dict()) for target in some),
        *(Change("groups", group.name, group.to_dict()) for group in groups),
    ]


async def taken(store: Store) -> int:
    """Return how many samples the leveler has taken in."""
    return sum(info["samples"] for info in (await workers.alive(store, "leveler")).values())


async def stream_bytes(store: Store) -> int:
    """Return how much memory the streams of samples take."""
    streams = [("MEMORY", "USAGE", store.keys.samples(shard), "SAMPLES", 0) for shard in range(store.shards)]
    return sum(size or 0 for size in await store.do_all(streams))

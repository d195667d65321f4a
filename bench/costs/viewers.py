"""What somebody costs who watches the dashboard: the web's CPU for what each of them is told."""

from __future__ import annotations

import asyncio

from bench.costs.gateways import VALUES, Publisher, a_fleet
from bench.costs.meters import Meters, per_second
from bench.gateway import memory_kib
from bench.growth import worker
from bench.reply_to_lamp import wait_for_port
from bench.slopes import Point
from espfleet.domain.groups import Group
from espfleet.store import readings, registry
from espfleet.store.client import Store
from espfleet.store.readings import Report
from espfleet.store.registry import Change
from tests.ports import free_port

#: How many watch, how often levels change, 1/s, how many of them change together, and how many lamps report, 1/s.
MODES = (
    *((0, 0, 0, 0), (0, 10, 50, 0), (0, 0, 0, 2_000), (50, 0, 0, 0), (50, 10, 50, 0), (50, 0, 0, 1_000)),
    *((100, 10, 20, 0), (100, 0, 0, 500), (200, 10, 50, 0), (200, 10, 10, 0)),
)
GROUPS = tuple(f"group-{number}" for number in range(50))
MEASURED_S = 3.0
SETTLE_S = 1.5
REQUEST = b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


class Reader:
    """Somebody who watches, and counts what comes."""

    def __init__(self, port: int, counts: list[int]) -> None:
        self._counts = counts
        self._port = port

    async def run(self) -> None:
        """Read until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(REQUEST)
            while data := await reader.read(2**16):
                self._counts[0] += len(data)
                self._counts[1] += data.count(b"\nevent: ")
        finally:
            writer.close()


async def measure() -> list[Point]:
    """Measure everything once."""
    async with a_fleet() as (store, url):
        await registry.change(store, lambda _: [Change("groups", name, Group(name=name).to_dict()) for name in GROUPS])
        port = free_port()
        with worker("web", url, WEB_PORT=str(port)) as web:
            await asyncio.to_thread(wait_for_port, port)
            async with Publisher(store, GROUPS) as publisher:
                meters = Meters(store, {"web": web.pid})
                return [await watch(store, publisher, meters, port, web.pid, mode) for mode in MODES]


async def watch(
    store: Store, publisher: Publisher, meters: Meters, port: int, pid: int, mode: tuple[int, int, int, int]
) -> Point:
    """Return what so many cost who watch so many changes."""
    count, publisher.changes, publisher.together, reports = mode
    counts = [0, 0]
    watching = [asyncio.create_task(Reader(port, counts).run()) for _ in range(count)]
    watching.append(asyncio.create_task(report(store, reports)))
    try:
        await asyncio.sleep(SETTLE_S)
        before, told, began = await meters.read(), publisher.told, tuple(counts)
        await asyncio.sleep(MEASURED_S)
        after = await meters.read()
        passed_s = after["at_s"] - before["at_s"]
        came_bytes, messages = ((now - then) / passed_s for now, then in zip(counts, began, strict=True))
        return (
            {
                "viewers": count,
                "levels": (levels_s := (publisher.told - told) / passed_s),
                "reports": reports,
                "messages": messages,
                "level_rows": levels_s * count,
                "report_rows": reports * count,
            },
            {**per_second(before, after), "bytes": came_bytes, "web_kib": memory_kib(pid)},
        )
    finally:
        for one in watching:
            one.cancel()
        await asyncio.gather(*watching, return_exceptions=True)


async def report(store: Store, per_s: int) -> None:
    """Tell numbers of so many lamps in a second, as gateways do."""
    some = {f"03be{number:08x}": Report(VALUES, 1_790_000_000_000) for number in range(per_s)}
    while True:
        await readings.tell(store, some)
        await asyncio.sleep(1)

"""How quick the web is: a big fleet's lists, many readers of the live feed, and the wall in a real browser.

The web runs as its own process on an embedded Redis; what it costs is its CPU time, read from the kernel. The browser
is the system's Chromium, headless; without it, what needs one is said not to be measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from bench.report import not_measured, report
from espfleet.domain.devices import Dialect, new_device
from espfleet.domain.groups import Group
from espfleet.domain.rooms import Room
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.store import levels, presence, registry
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease
from espfleet.store.presence import Session
from espfleet.store.registry import Change

CAP_S = 240.0
SEED = 1
dice = random.Random(SEED)
ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium-headless-shell"

LIST = "GET /api/devices with 10,000 devices, first page, p99"
FILTERED = "GET /api/devices with 10,000 devices, those of a room, p99"
THERE = "GET /api/devices with 10,000 devices, all there, those that are live, p99"
PAINT = "first paint of the wall with 1,000 lamps, in 100 rooms"
WEIGHT = "weight of that page, compressed, with the graph's library"
PIXEL = "level change to pixel, p95"
READERS = "CPU of the web with 200 readers and 1,000 changes a second"
BEHIND = "latest that a reader hears of a change then, p99"

REQUESTS = 150
RUNS = 3
CHANGES = 12
READER_COUNT = 200
CHANGES_EACH_S = 1_000
LOAD_S = 6.0
GROUPS = 100


def main() -> None:
    """Measure all promises."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder, embedded_server(Path(folder) / "r") as url:
        asyncio.run(_main(url, Path(folder)))


async def _main(url: str, home: Path) -> None:
    async with open_store(url, name="bench", shards=4) as store:
        await _fill(store, 10_000)
        await _come(store, 10_000)
        async with _web(url, home) as web:
            _lists(web.port)
        await _fill(store, 1_000)
        async with _web(url, home) as web:
            publisher = Publisher(store)
            await publisher.all(20)
            await _readers(web, publisher)
            await _browser(web, publisher)


class Web:
    """The web as a process."""

    def __init__(self, url: str, home: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        environ = {**os.environ, "REDIS_URL": url, "ESPFLEET_HOME": str(home), "WEB_PORT": str(self.port)}
        environ |= {"PYTHONPATH": str(ROOT), "LOG_LEVEL": "WARNING"}
        self.process = subprocess.Popen([sys.executable, "-P", "-m", "espfleet", "run", "web"], env=environ)

    def cpu_s(self) -> float:
        """Return the CPU time it has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.asynccontextmanager
async def _web(url: str, home: Path) -> AsyncIterator[Web]:
    web = Web(url, home)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", web.port), 1).close()
                break
            await asyncio.sleep(0.1)
        yield web
    finally:
        web.process.terminate()
        web.process.wait(10)


async def _fill(store: Store, devices: int) -> None:
    """Make the fleet anew with so many devices, in 100 rooms with a group each."""
    await store.redis.flushall()
    await store.settle()
    changes = [Change("groups", f"group-{n}", Group(name=f"group-{n}").to_dict()) for n in range(GROUPS)]
    changes += [
        Change("rooms", f"room-{n}", Room(name=f"room-{n}", group=f"group-{n}").to_dict()) for n in range(GROUPS)
    ]
    for n in range(devices):
        device = new_device(device_id=f"{n:012x}", name=f"lamp-{n:05}", room=f"room-{n % GROUPS}")
        changes.append(Change("devices", device.id, device.to_dict()))
    await registry.change(store, lambda _: changes)


async def _come(store: Store, devices: int) -> None:
    """Let all devices be there for as long as this takes."""
    for first in range(0, devices, 1_000):
        sessions = {
            f"{n:012x}": Session(
                session_id=str(n), gateway="bench", watchdog_ms=600_000, peer="127.0.0.1:1", dialect=Dialect.V1
            )
            for n in range(first, first + 1_000)
        }
        await presence.came_all(store, sessions)


class Publisher:
    """Publishes levels as levelers do."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[int, list[str]] = {}
        for n in range(GROUPS):
            self._names.setdefault(shard_of(f"group-{n}", store.shards), []).append(f"group-{n}")

    async def publish(self, names: Sequence[str], level: int) -> None:
        """Publish one level for groups, and keep the other shards fresh."""
        now_ms = time.time_ns() // 1_000_000
        for shard, mine in self._names.items():
            lease = await Lease.take(self._store, f"s{shard}", "bench", 10_000)
            assert lease is not None
            changed = [
                GroupLevel(group=name, level=level, state=State.OK, at_ms=now_ms, reason=str(time.time()))
                for name in mine
                if name in names
            ]
            await levels.publish(self._store, shard, lease.fence, changed, now_ms)

    async def all(self, level: int) -> None:
        """Publish one level for all groups."""
        await self.publish([name for mine in self._names.values() for name in mine], level)


def _lists(port: int) -> None:
    paths = {LIST: "/api/devices", FILTERED: "/api/devices?room=room-7", THERE: "/api/devices?state=live"}
    for title, path in paths.items():
        found = []
        for _ in range(RUNS):
            link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            taken = []
            for _ in range(REQUESTS):
                began = time.perf_counter()
                link.request("GET", path)
                link.getresponse().read()
                taken.append((time.perf_counter() - began) * 1_000)
            link.close()
            # The first loads the registry.
            found.append(statistics.quantiles(taken[1:], n=100)[98])
        report(title, found, unit="ms", bound="ours <= 50")


async def _read(port: int, delays_ms: list[float], until_s: float) -> None:
    """Read the live feed as a browser does, and note how old each change is."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    writer.write(b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        while time.monotonic() < until_s:
            async with asyncio.timeout(5):
                line = await reader.readline()
            if line.startswith(b'data: {"at_ms"') and b'"levels"' in line and dice.random() < 0.1:
                stamps = [float(row["reason"]) for row in json.loads(line[6:])["levels"].values() if row["reason"]]
                delays_ms.append((time.time() - min(stamps)) * 1_000)
    finally:
        writer.close()


async def _readers(web: Web, publisher: Publisher) -> None:
    used, late = [], []
    for _ in range(RUNS):
        delays_ms: list[float] = []
        until_s = time.monotonic() + LOAD_S + 1.0
        async with asyncio.TaskGroup() as tasks:
            for _ in range(READER_COUNT):
                tasks.create_task(_read(web.port, delays_ms, until_s))
            await asyncio.sleep(1.0)
            began_s, cpu_s, number = time.monotonic(), web.cpu_s(), 0
            while time.monotonic() - began_s < LOAD_S:
                number += 1
                await publisher.all(number % 101)
                await asyncio.sleep(max(0.0, began_s + number * GROUPS / CHANGES_EACH_S - time.monotonic()))
            used.append(100 * (web.cpu_s() - cpu_s) / (time.monotonic() - began_s))
        late.append(statistics.quantiles(delays_ms, n=100)[98])
    report(READERS, used, unit="% of a core", bound="ours <= 60")
    report(BEHIND, late, unit="ms", bound="ours <= 1000")


async def _browser(web: Web, publisher: Publisher) -> None:
    reason = "" if shutil.which(CHROMIUM) else "needs chromium-headless-shell"
    if reason:
        for title, bound in ((PAINT, "ours <= 1000"), (WEIGHT, "ours <= 500"), (PIXEL, "ours <= 250")):
            not_measured(title, bound=bound, reason=reason)
        return
    from playwright.async_api import async_playwright

    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        beating = asyncio.create_task(_beat(publisher))
        paints, weights = [], []
        for _ in range(5):
            context = await browser.new_context(viewport={"width": 1280, "height": 800})
            page = await context.new_page()
            sizes: list[int] = []
            page.on("response", lambda answer, into=sizes: into.append(int(answer.headers.get("content-length", 0))))
            await page.goto(f"http://127.0.0.1:{web.port}/")
            seen = "() => document.querySelectorAll('.lamp').length >= 1000 && performance.now()"
            await page.wait_for_function(seen, polling="raf")
            paints.append(
                await page.evaluate("() => new Promise((done) => requestAnimationFrame(() => done(performance.now())))")
            )
            library = await context.request.get(f"http://127.0.0.1:{web.port}/vendor/chart.js")
            sizes.append(int(library.headers["content-length"]))
            weights.append(sum(sizes) / 1_000)
            if len(paints) == 5:
                delays = await _pixels(page, publisher)
            await context.close()
        beating.cancel()
        await browser.close()
    report(PAINT, paints, unit="ms", bound="ours <= 1000")
    report(WEIGHT, weights, unit="kB", bound="ours <= 500")
    note = f"{len(delays)} changes, after {min(delays):.0f} to {max(delays):.0f} ms"
    report(PIXEL, [statistics.quantiles(delays, n=20)[18]], unit="ms", bound="ours <= 250", note=note)


async def _beat(publisher: Publisher) -> None:
    while True:
        await publisher.publish((), 0)
        await asyncio.sleep(1.0)


async def _pixels(page: object, publisher: Publisher) -> list[float]:
    """Return how long each change takes until a frame shows the light moving, in ms."""
    watch = """() => { window.moved = 0; let was = '';
      const look = () => { const now = document.querySelector('[data-room=room-0]').style.getPropertyValue('--c');
        if (was && now !== was && !window.moved) window.moved = Date.now(); was = now; requestAnimationFrame(look); };
      requestAnimationFrame(look); }"""
    await page.evaluate(watch)  # type: ignore[attr-defined]
    delays = []
    for number in range(CHANGES):
        # Until the afterglow of the change before has ended.
        await asyncio.sleep(3.0 + dice.random() * 0.2)
        await page.evaluate("() => { window.moved = 0; }")  # type: ignore[attr-defined]
        began_ms = time.time() * 1_000
        await publisher.publish(["group-0"], 0 if number % 2 else 100)
        await page.wait_for_function("() => window.moved > 0", polling=20)  # type: ignore[attr-defined]
        delays.append(await page.evaluate("() => window.moved") - began_ms)  # type: ignore[attr-defined]
    return delays


if __name__ == "__main__":
    main()

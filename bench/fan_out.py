"""One level to 10,000 lamps: our gateway against what one would pick instead, and against the kernel's own cost.

All take turns with the same lamps (``peers/lamps.c``, one thread of C on the other core; it says how busy it was).
Ours is the gateway as it is: tokens checked, levels from Redis, presence told to Redis; the moment before the level is
published to Redis is where its time begins. The peers check nothing, and their time begins when the text is sent to
them. CPU is that of the server's process, as the kernel counts it.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.gateway import allow_files, cpu_s, memory_kib
from bench.peers import servers
from bench.peers.lamps import Lamps, lamps
from bench.peers.servers import Server
from bench.report import not_measured, report
from bench.stage import stage

CAP_S = 780.0

RUNS = 3
LAMPS = 10_000
CHANGES = 10
#: Between two changes: longer than the slowest takes for all lamps.
PAUSE_S = 0.5
#: Each lamp lives for so long: CPU is counted in between.
KEEPALIVE_MS = 1_000
LIVE_S = 4.0
LIVE_LEAD_S = 2.0
#: As users have it: Redis is told of all lamps three times in this.
WATCHDOG_MS = 3_000
CONCURRENCY = 200
OURS = "ours"

Change = Callable[[int], Awaitable[int]]
Start = Callable[[], AbstractContextManager[Server]]


@dataclass(frozen=True)
class Cost:
    """What one run cost.

    Attributes:
        p99_ms: From a change until 99 of 100 lamps have it, in the median change.
        us_per_push, us_per_keepalive: CPU of the server, µs.
        kib: Memory of a lamp in the server, KiB.
        connects_per_s: Connections in a second of the server's CPU, what follows from them included.
        busy: Share of a core that the lamps took while levels came.
    """

    p99_ms: float
    us_per_push: float
    us_per_keepalive: float
    kib: float
    connects_per_s: float
    busy: float


def main() -> None:
    """Measure and report."""
    allow_files()
    with tempfile.TemporaryDirectory(prefix="ef") as name:
        folder = Path(name)
        contenders, absent = find(folder)
        costs: dict[str, list[Cost]] = {OURS: [], **{name: [] for name in contenders}}
        for _ in range(RUNS):
            costs[OURS].append(asyncio.run(measure_ours(folder)))
            for peer, start in contenders.items():
                with start() as server:
                    costs[peer].append(asyncio.run(measure_peer(folder, server)))
    tell(costs, absent)


def find(folder: Path) -> tuple[dict[str, Start], dict[str, str]]:
    """Return the peers that can run here, and what the others lack."""
    wanted: dict[str, tuple[str, Start]] = {
        "C floor": (servers.missing("gcc"), lambda: servers.floor(folder)),
        f"mosquitto {servers.mosquitto_version()}": (servers.missing("mosquitto"), servers.mosquitto),
        "Node ws": (servers.missing("node", "npm"), lambda: servers.node_ws(folder)),
        "websockets, loop of await send": ("", servers.send_loop),
        "uvicorn and FastAPI": ("", servers.fastapi),
    }
    return (
        {name: start for name, (lack, start) in wanted.items() if not lack},
        {name: lack for name, (lack, _) in wanted.items() if lack},
    )


async def measure_ours(folder: Path) -> Cost:
    """Measure the gateway."""
    async with stage(LAMPS) as ready:

        async def change(number: int) -> int:
            return await ready.publish(number % 101)

        with our_gateway(ready.url) as server:
            cost = await measure(folder, server, ready.hellos, change)
        with our_gateway(ready.url, WATCHDOG_MS) as server:
            return replace(cost, us_per_keepalive=await measure_keepalives(folder, server, ready.hellos))


@contextmanager
def our_gateway(url: str, watchdog_ms: int = 0) -> Iterator[Server]:
    """Run our gateway on a Redis; without a watchdog, Redis is not told of the lamps meanwhile."""
    command = [sys.executable, "-m", "bench.gateway", "ours", url, "0", *([str(watchdog_ms)] if watchdog_ms else [])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


async def measure_peer(folder: Path, server: Server) -> Cost:
    """Measure another server, which sends what it is told."""

    async def change(number: int) -> int:
        # What our gateway sends, field by field.
        fields = {"type": "level", "level": number % 101, "state": "ok", "seq": number, "lease_ms": 600_000}
        times = {"timestamp": time.time(), "server_mono_ts": time.monotonic()}
        server.change(json.dumps({**fields, **times}, separators=(",", ":")))
        return number

    hellos = [""] * LAMPS
    cost = await measure(folder, server, hellos, change)
    return replace(cost, us_per_keepalive=await measure_keepalives(folder, server, hellos))


async def measure(folder: Path, server: Server, hellos: list[str], change: Change) -> Cost:
    """Connect all lamps, and change the level."""
    with lamps(folder, server.port, hellos, server.kind) as crowd:
        servers.pin(server.pid, 0)
        servers.pin(crowd.pid, 1)
        await asyncio.sleep(1)
        before_kib, begun_s = memory_kib(server.pid), cpu_s(server.pid)
        opened = await crowd.asked(f"connect {CONCURRENCY}")
        assert opened["open"] == len(hellos), opened
        # Until Redis knows who has come, too.
        await crowd.asked("spare 2000")
        connect_s = cpu_s(server.pid) - begun_s
        kib = (memory_kib(server.pid) - before_kib) / len(hellos)
        cpu_levels_s, came, busy = await send_levels(crowd, server, change)
        return Cost(
            p99_ms=came["p99_ms"],
            us_per_push=cpu_levels_s / came["count"] * 1e6,
            us_per_keepalive=math.nan,
            kib=kib,
            connects_per_s=len(hellos) / connect_s,
            busy=busy,
        )


async def measure_keepalives(folder: Path, server: Server, hellos: list[str]) -> float:
    """Let all lamps live for a while; return what a keepalive costs the server, µs."""
    with lamps(folder, server.port, hellos, server.kind) as crowd:
        servers.pin(server.pid, 0)
        servers.pin(crowd.pid, 1)
        opened = await crowd.asked(f"connect {CONCURRENCY}")
        assert opened["open"] == len(hellos), opened
        for_ms = round((LIVE_LEAD_S + LIVE_S + 1) * 1_000)
        living = asyncio.create_task(crowd.asked(f"live {KEEPALIVE_MS} {for_ms}"))
        await asyncio.sleep(LIVE_LEAD_S)
        begun_s, at_s = cpu_s(server.pid), time.monotonic()
        await asyncio.sleep(LIVE_S)
        spent_s, passed_s = cpu_s(server.pid) - begun_s, time.monotonic() - at_s
        assert (await living)["open"] == len(hellos), "lamps were lost"
        return spent_s / (len(hellos) * passed_s * 1_000 / KEEPALIVE_MS) * 1e6


async def send_levels(crowd: Lamps, server: Server, change: Change) -> tuple[float, dict[str, float], float]:
    """Change the level some times; return the server's CPU, s, when the levels came, and how busy the lamps were."""
    begun_s, lamps_s, at_s = cpu_s(server.pid), cpu_s(crowd.pid), time.monotonic()
    listening = asyncio.create_task(crowd.asked(f"spare {round((CHANGES + 2) * PAUSE_S * 1_000)}"))
    marks = []
    for number in range(1, CHANGES + 1):
        at_ns = time.monotonic_ns()
        marks.append((await change(number), at_ns))
        await asyncio.sleep(PAUSE_S)
    await listening
    busy = (cpu_s(crowd.pid) - lamps_s) / (time.monotonic() - at_s)
    spent_s = cpu_s(server.pid) - begun_s
    for seq, at_ns in marks:
        crowd.tell(f"mark {seq} {at_ns}")
    return spent_s, await crowd.asked("report 100"), busy


def tell(costs: dict[str, list[Cost]], absent: dict[str, str]) -> None:
    """Report every promise."""
    busy = max(cost.busy for runs in costs.values() for cost in runs)
    # A process that waits for most of the time is not what others wait for.
    note = f"the lamps' process was busy for {busy:.0%} of its core at most"
    bounds = {
        ("p99_ms", f"one level to {LAMPS:,} lamps: 99 of 100 have it", "ms"): {
            "mosquitto": "ratio <= 0.35", "Node": "ratio <= 0.9", "websockets": "ratio <= 0.55", "C": "ratio <= 1.1",
            "uvicorn": "ratio <= 0.75",
        },
        ("us_per_push", f"CPU for a level sent to one of {LAMPS:,} lamps", "µs"): {
            "mosquitto": "ratio <= 0.4", "Node": "ratio <= 0.9", "C": "ratio <= 1.25",
            "uvicorn": "ratio <= 0.8",
        },
        ("us_per_keepalive", f"CPU for a keepalive of one of {LAMPS:,} lamps, Redis told", "µs"): {
            "websockets": "ratio <= 0.5", "uvicorn": "ratio <= 0.5",
        },
        ("connects_per_s", "connections in a second of one core, tokens checked", "1/s"): {
            "websockets": "ratio >= 1.3", "uvicorn": "ratio >= 1.3",
        },
    }  # fmt: skip
    for (field, promise, unit), peers in bounds.items():
        for start, bound in peers.items():
            peer = next((name for name in costs if name.startswith(start)), None)
            words = f"{promise}, against {start}"
            if peer is None:
                lack = next((lack for name, lack in absent.items() if name.startswith(start)), "")
                not_measured(words, bound=bound, unit=unit, reason=lack)
                continue
            ours, theirs = ([getattr(cost, field) for cost in costs[name]] for name in (OURS, peer))
            report(words, ours, theirs, peer_name=peer, unit=unit, bound=bound, note=note)
    report(f"memory of one of {LAMPS:,} idle lamps", [one.kib for one in costs[OURS]], unit="KiB", bound="ours <= 4")
    for name, runs in costs.items():
        middle = {key: statistics.median(getattr(cost, key) for cost in runs) for key in Cost.__dataclass_fields__}
        print(f"{name}: {', '.join(f'{key} {value:,.2f}' for key, value in middle.items())}", flush=True)


if __name__ == "__main__":
    main()

"""A load test as users run it: 20,000 lamps from one ``simulate`` process on one gateway, moving and dying by a script.

The gateway is ``run gateway`` and the lamps ``simulate --lamps``, both with the settings that users have: each lamp
sends a keepalive a second, every tenth with numbers in it, and is told a level twice a second. Where a process may not
have so many open files, it is as many lamps as it may have; the note says how many.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateway import cpu_s, memory_kib
from bench.reply_to_lamp import ROOT, wait_for_port
from bench.report import report
from bench.stage import Stage, gateway, stage
from espfleet.domain.devices import Presence
from espfleet.gateway.server import Limits, within_files
from espfleet.store import presence, registry
from tests.ports import free_port

CAP_S = 420.0

SEED = 1
RUNS = 2
WANTED = 20_000
ARRIVE_S, REST_S, MOVE_S, DIE_S, END_S = 30, 45, 60, 65, 80
MOVED, DEAD = 500, 1_000
CHANGE_S = 2.0
SCRIPT = f"""at 0s arrive all over {ARRIVE_S}s
at {MOVE_S}s move {MOVED} to room lab
at {DIE_S}s die {DEAD}
at {END_S}s end
"""
LAMPS = "20,000 lamps of one simulator on one gateway"
ALL = f"{LAMPS}: all connected, after the last has come"
FRESH = f"{LAMPS}: those that show a fresh level, at the worst look"
GATEWAY = f"{LAMPS}: CPU of the gateway"
SIMULATOR = f"{LAMPS}: CPU of the simulator"
TOLD = f"{LAMPS}: moves and deaths of the script that the fleet tells"
BOUNDS = {
    ALL: ("s", "ours <= 5"),
    FRESH: ("%", "ours >= 99.9"),
    GATEWAY: ("% of a core", "ours <= 90"),
    SIMULATOR: ("% of a core", "ours <= 90"),
    TOLD: ("%", "ours == 100"),
}


@dataclass(frozen=True)
class Came:
    """What came of one run: figures by promise, and memory of a lamp in the gateway and of the whole simulator."""

    figures: Mapping[str, float]
    lamp_kib: float
    simulator_mib: float


def main() -> None:
    """Measure and report."""
    limits = Limits(connections=WANTED)
    lamps = within_files(limits, resource.getrlimit(resource.RLIMIT_NOFILE)[1]).connections
    runs = [asyncio.run(one_run(lamps)) for _ in range(RUNS)]
    kib, mib = (statistics.median(getattr(run, name) for run in runs) for name in ("lamp_kib", "simulator_mib"))
    note = f"{lamps:,} lamps; each takes {kib:.1f} KiB in the gateway, the simulator {mib:.0f} MiB for all"
    for promise, (unit, bound) in BOUNDS.items():
        report(promise, [run.figures[promise] for run in runs], unit=unit, bound=bound, note=note)


async def one_run(lamps: int) -> Came:
    """Run the script once."""
    port = free_port()
    async with stage(0) as ready:
        with gateway(ready.url, port) as serving:
            await asyncio.to_thread(wait_for_port, port)
            changing = asyncio.create_task(change(ready))
            try:
                with simulator(ready.url, port, lamps) as testing:
                    return await watch(ready, serving.pid, testing, lamps)
            finally:
                changing.cancel()
                await asyncio.wait([changing])


async def change(ready: Stage) -> None:
    """Change the level that all lamps show."""
    for number in range(1_000_000):
        await ready.publish(40 * number % 100)
        await asyncio.sleep(CHANGE_S)


@contextmanager
def simulator(url: str, port: int, lamps: int) -> Iterator[subprocess.Popen[str]]:
    """Run the script on a gateway."""
    with tempfile.TemporaryDirectory(prefix="ef") as home:
        script = Path(home) / "script.txt"
        script.write_text(SCRIPT)
        command = [sys.executable, "-P", "-m", "espfleet", "simulate", "--lamps", str(lamps), "--seed", str(SEED)]
        environ = {**os.environ, "ESPFLEET_HOME": home, "REDIS_URL": url, "SERVER_PORT": str(port)}
        with subprocess.Popen(
            [*command, "--script", str(script), "--json"],
            cwd=home,
            env={**environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


async def watch(ready: Stage, gateway_pid: int, testing: subprocess.Popen[str], lamps: int) -> Came:
    """Return what is seen of a run."""
    empty_kib = memory_kib(gateway_pid)
    fresh: list[float] = []
    begun: tuple[float, float, float] | None = None
    figures: dict[str, float] = {}
    lamp_kib = simulator_mib = 0.0
    while (row := await next_row(testing))["kind"] != "end":
        if row["kind"] != "second":
            continue
        used = time.monotonic(), cpu_s(gateway_pid), cpu_s(testing.pid)
        if REST_S <= row["at_s"] < MOVE_S:
            begun = begun or used
            fresh.append(100 * sum(row["glows"][band] for band in ("green", "orange", "red")) / lamps)
        elif row["at_s"] >= MOVE_S and begun is not None and GATEWAY not in figures:
            passed_s = used[0] - begun[0]
            figures[GATEWAY], figures[SIMULATOR] = (
                100 * (now_s - then_s) / passed_s for now_s, then_s in zip(used[1:], begun[1:], strict=True)
            )
            lamp_kib = (memory_kib(gateway_pid) - empty_kib) / lamps
            simulator_mib = memory_kib(testing.pid) / 1_024
        elif row["at_s"] >= END_S - 2 and TOLD not in figures:
            figures[TOLD] = await told(ready)
    if row["all_connected_s"] is None:
        print(f"never all at one moment: {row}", flush=True)
    figures[ALL] = max((row["all_connected_s"] or END_S) - ARRIVE_S, 0.0)
    figures[FRESH] = min(fresh)
    return Came(figures, lamp_kib, simulator_mib)


async def told(ready: Stage) -> float:
    """Return how many of the moves and deaths of the script the fleet knows of, %."""
    devices = (await registry.load(ready.store)).devices
    known = await presence.read_presence(ready.store, list(devices))
    dead = sum(info.presence is Presence.OFFLINE for info in known.values())
    moved = sum(device.room == "lab" for device in devices.values())
    return 100 * (DEAD - abs(dead - DEAD) + MOVED - abs(moved - MOVED)) / (DEAD + MOVED)


async def next_row(testing: subprocess.Popen[str]) -> dict[str, Any]:
    """Return the next line that the simulator tells."""
    assert testing.stdout is not None
    line = await asyncio.to_thread(testing.stdout.readline)
    assert line, "the simulator has ended"
    row: dict[str, Any] = json.loads(line)
    return row


if __name__ == "__main__":
    main()

"""A gateway is killed with 10,000 lamps on it and started again at once: how soon are they fresh again?

The gateway runs as its supervisor would run it (``run gateway``, over an embedded Redis with somebody who publishes
levels). The lamps (``peers/lamps.c``) come back as real ones do: full jitter from 0.5 s doubling to 30 s, and when they
are told when to return, then. A lamp is fresh when it has been welcomed with its level after the kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.gateway import allow_files, set_up
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.reply_to_lamp import ROOT, wait_for_port
from bench.report import not_measured, report
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.store import levels
from espfleet.store.client import open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease
from tests.ports import free_port

CAP_S = 240.0

#: Of the lamps: ``peers/lamps.c``.
SEED = 1
RUNS = 3
LAMPS = 10_000
LATEST_MS = 60_000
MOST = "10,000 lamps, gateway killed and started again: 95 of 100 fresh"
ALL = "10,000 lamps, gateway killed and started again: all fresh"
UNTOLD = "10,000 lamps, gateway killed and started again: turned away without being told when to return"
BOUNDS = {MOST: ("s", "ours <= 8"), ALL: ("s", "ours <= 15"), UNTOLD: ("lamps", "ours == 0")}


def main() -> None:
    """Measure and report."""
    allow_files()
    lack = servers.missing("gcc")
    if lack:
        for promise, (unit, bound) in BOUNDS.items():
            not_measured(promise, bound=bound, unit=unit, reason=lack)
        return
    runs = [asyncio.run(one_run()) for _ in range(RUNS)]
    attempts = statistics.median(run["attempts"] for run in runs)
    told = statistics.median(run["told"] for run in runs)
    note = f"{attempts:,.0f} attempts, {told:,.0f} of them told when to return"
    figures = {
        MOST: [run["p95_s"] for run in runs],
        ALL: [run["all_s"] for run in runs],
        UNTOLD: [run["untold"] for run in runs],
    }
    for promise, (unit, bound) in BOUNDS.items():
        report(promise, figures[promise], unit=unit, bound=bound, note=note)


async def one_run() -> Mapping[str, float]:
    """Kill the gateway once, and return how it went."""
    with (
        tempfile.TemporaryDirectory(prefix="ef") as data,
        tempfile.TemporaryDirectory(prefix="ef") as folder,
        embedded_server(Path(data)) as url,
    ):
        async with open_store(url, name="bench") as store:
            hellos = await set_up(store, LAMPS)
            shard = shard_of("wan", store.shards)
            lease = await Lease.take(store, f"s{shard}", "bench", 600_000)
            assert lease is not None
            level = GroupLevel(group="wan", level=20, state=State.OK, at_ms=1)
            await levels.publish(store, shard, lease.fence, [level], 1)

            async def beat() -> None:
                while True:
                    await levels.publish(store, shard, lease.fence, [], 1)
                    await asyncio.sleep(0.5)

            beating = asyncio.create_task(beat())
            try:
                return await asyncio.to_thread(kill_once, url, Path(folder), hellos)
            finally:
                beating.cancel()
                await asyncio.wait([beating], timeout=1)


def kill_once(url: str, folder: Path, hellos: list[str]) -> Mapping[str, float]:
    """Connect all lamps, kill the gateway, start it again, and wait for them."""
    port = free_port()
    environ = {**os.environ, "REDIS_URL": url, "SERVER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "espfleet", "run", "gateway"]

    def start() -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=folder, env=environ, stdin=quiet, stdout=quiet, stderr=quiet)

    gateway = start()
    try:
        wait_for_port(port)
        with lamps(folder, port, hellos) as crowd:
            opened = crowd.ask("connect 200")
            assert opened["open"] == len(hellos), opened
            crowd.ask("live 1000 3000")
            crowd.tell(f"storm {LATEST_MS}")
            time.sleep(0.5)
            killed_s = time.monotonic()
            gateway.send_signal(signal.SIGKILL)
            gateway.wait()
            gateway = start()
            told = crowd.answer()
            assert told["fresh"] == len(hellos), json.dumps(told)
            return {**told, "p95_s": told["p95_at_s"] - killed_s, "all_s": told["all_at_s"] - killed_s}
    finally:
        gateway.kill()
        gateway.wait()


if __name__ == "__main__":
    main()

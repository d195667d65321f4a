"""A gateway is killed with 10,000 lamps on it and started again at once: how soon are they fresh again?

The gateway runs as its supervisor would run it (``run gateway``, over an embedded Redis with somebody who publishes
levels). The lamps (``peers/lamps.c``) come back as real ones do: full jitter from 0.5 s doubling to 30 s, and when they
are told when to return, then. A lamp is fresh when it has been welcomed with its level after the kill.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from bench.gateway import allow_files
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.reply_to_lamp import wait_for_port
from bench.report import not_measured, report
from bench.stage import Stage, gateway, stage
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
    async with stage(LAMPS) as ready:
        return await asyncio.to_thread(kill_once, ready)


def kill_once(ready: Stage) -> Mapping[str, float]:
    """Connect all lamps, kill the gateway, start it again, and wait for them."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ef") as folder, gateway(ready.url, port) as doomed:
        wait_for_port(port)
        with lamps(Path(folder), port, ready.hellos) as crowd:
            opened = crowd.ask("connect 200")
            assert opened["open"] == LAMPS, opened
            crowd.ask("live 1000 3000")
            crowd.tell(f"storm {LATEST_MS}")
            time.sleep(0.5)
            killed_s = time.monotonic()
            doomed.kill()
            doomed.wait()
            with gateway(ready.url, port):
                told = crowd.answer()
            assert told["fresh"] == LAMPS, json.dumps(told)
            return {**told, "p95_s": told["p95_at_s"] - killed_s, "all_s": told["all_at_s"] - killed_s}


if __name__ == "__main__":
    main()

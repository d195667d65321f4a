"""Two gateway processes on one port against one: how soon is a level written to 10,000 lamps?

There are two cores, and the lamps need some of them too: so they are stopped (SIGSTOP) while a level is written, which
the kernel keeps for them, and go on afterwards. A level is written when the gateways have come to rest: their CPU time,
as the kernel counts it, is looked at every millisecond, by a process that waits where a gateway wants to run. Each
gateway has a core to itself; the time begins before the level is published to Redis.
"""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.gateway import allow_files
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.report import not_measured, report
from bench.stage import stage
from espfleet.store import workers
from espfleet.store.client import Store
from tests.ports import free_port

CAP_S = 240.0

RUNS = 3
LAMPS = 10_000
CHANGES = 12
#: Seldom, for the gateways are to rest.
BEAT_S = 1.0
REST_S = 0.03
LOOK_S = 0.001
#: The nice value of who lets everybody else go first.
LAST = 19
PROMISE = "levels written to 10,000 lamps in a second: two gateway processes against one"
BOUND = "ratio >= 1.7"


def main() -> None:
    """Measure and report."""
    allow_files()
    lack = servers.missing("gcc") or ("" if len(os.sched_getaffinity(0)) > 1 else "needs two cores")
    if lack:
        not_measured(PROMISE, bound=BOUND, reason=lack, unit="1/s", peer_name="one gateway process")
        return
    two, one = [], []
    for _ in range(RUNS):
        one.append(LAMPS / asyncio.run(one_run(1)))
        two.append(LAMPS / asyncio.run(one_run(2)))
    report(PROMISE, two, one, peer_name="one gateway process", unit="1/s", bound=BOUND)


async def one_run(count: int) -> float:
    """Return how long so many gateways take to write a level to all lamps, s, in the median change."""
    usual = os.getpriority(os.PRIO_PROCESS, 0)
    async with stage(LAMPS, BEAT_S) as ready:
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ef")))
            port = free_port()
            pids = [start(stack, ready.url, port, core) for core in range(count)]
            crowd = stack.enter_context(lamps(folder, port, ready.hellos))
            opened = await crowd.asked("connect 200")
            assert opened["open"] == LAMPS, opened
            # It notices what is left of the connections only when it is asked.
            await crowd.asked("spare 2000")
            assert await seated(ready.store) == LAMPS
            os.setpriority(os.PRIO_PROCESS, 0, LAST)
            taken = []
            for number in range(1, CHANGES + 1):
                os.kill(crowd.pid, signal.SIGSTOP)
                try:
                    begun_s = time.perf_counter()
                    await ready.publish(number % 101)
                    taken.append(at_rest_s(pids) - begun_s)
                finally:
                    os.kill(crowd.pid, signal.SIGCONT)
                await crowd.asked("spare 400")
            os.setpriority(os.PRIO_PROCESS, 0, usual)
            return statistics.median(taken)


def start(stack: ExitStack, url: str, port: int, core: int) -> int:
    """Start a gateway that shares a port, on a core of its own; return its process id."""
    command = [sys.executable, "-m", "bench.gateway", "ours", url, str(port)]
    process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    stack.callback(process.kill)
    assert process.stdout is not None
    assert int(process.stdout.readline()) == port
    servers.pin(process.pid, core)
    return process.pid


async def seated(store: Store) -> int:
    """Return how many lamps the gateways have, once all have told it."""
    await asyncio.sleep(1.5)
    return sum(info["lamps"] for info in (await workers.alive(store, "gateway")).values())


def at_rest_s(pids: Sequence[int]) -> float:
    """Wait until all processes rest, and return since when."""
    with ExitStack() as stack:
        # Opened once: who looks takes time of the cores that the gateways are on.
        files = [os.open(f"/proc/{pid}/schedstat", os.O_RDONLY) for pid in pids]
        for file in files:
            stack.callback(os.close, file)
        spent, since_s = None, time.perf_counter()
        while True:
            # The first number is the time on a core, ns; less than 0.3 ms of it in all is housekeeping.
            now_s, now = time.perf_counter(), sum(int(os.pread(file, 64, 0).split()[0]) for file in files)
            if spent is None or now - spent > 300_000:
                spent, since_s = now, now_s
            elif now_s - since_s > REST_S:
                return since_s
            time.sleep(LOOK_S)


if __name__ == "__main__":
    main()

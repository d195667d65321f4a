"""What one more target and one more lamp cost, however many there are: the workers as they are, each on its own.

``run prober`` probes addresses of an emulated network once a second, which answers from another core as other machines
do (on loopback the kernel answers in the sender's time), and writes to an embedded Redis that nobody reads. ``run
gateway`` serves lamps (``peers/lamps.c``) that send a keepalive a second, and that are told a new level twice a second.
What is counted is the CPU time of that one process, as the kernel counts it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import namespace
from bench.emulate import all_hosts, emulated_network, missing
from bench.gateway import allow_files, cpu_s
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.prober import first_core
from bench.reply_to_lamp import ROOT, wait_for_port
from bench.report import not_measured, report
from bench.stage import stage
from espfleet.domain.groups import Group
from espfleet.domain.targets import Target
from espfleet.store import registry, workers
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.registry import Change
from tests.ports import free_port

CAP_S = 420.0

TARGETS = (100, 1_000, 10_000, 50_000)
LAMPS = (100, 1_000, 10_000)
RUNS = 2
MEASURED_S = 10.0
SETTLE_S = 4.0
#: The emulated network ends by itself after this time.
EMULATED_S = 120
PROBING = "50,000 targets once a second by one prober: CPU"
DROPPED = "50,000 targets once a second by one prober: dropped by this machine"
MORE_TARGETS = "cost of a target among 50,000 against one among 100"
MORE_LAMPS = "cost of a lamp among 10,000 against one among 100"
LEVELS_PER_S = 2


def main() -> None:
    """Measure and report."""
    allow_files()
    reason = missing() if namespace.possible() else "needs root, for a network namespace"
    if not reason:
        targets()
    else:
        not_measured(PROBING, bound="ours <= 35", unit="% of a core", reason=reason)
        not_measured(DROPPED, bound="ours == 0", reason=reason)
        not_measured(MORE_TARGETS, bound="ours <= 1", reason=reason)
    if lack := servers.missing("gcc"):
        not_measured(MORE_LAMPS, bound="ours <= 1", reason=lack)
    else:
        gateways()


def targets() -> None:
    """Measure the prober with few and with many targets."""
    shares: dict[int, list[float]] = {count: [] for count in TARGETS}
    dropped: list[float] = []
    for _ in range(RUNS):
        for count in TARGETS:
            with namespace.private_network(), emulated_network(EMULATED_S, core=first_core()):
                share, counters = asyncio.run(probe(count))
            shares[count].append(share)
            dropped.append(counters["local_drops"])
    each_us = {count: [share / count * 1e6 for share in shares[count]] for count in TARGETS}
    note = in_words(each_us, "µs a probe")
    most, least = max(TARGETS), min(TARGETS)
    report(PROBING, [100 * share for share in shares[most]], unit="% of a core", bound="ours <= 35", note=note)
    report(DROPPED, dropped, bound="ours == 0")
    ratios = [many / few for many, few in zip(each_us[most], each_us[least], strict=True)]
    report(MORE_TARGETS, ratios, bound="ours <= 1", note=note)


def gateways() -> None:
    """Measure the gateway with few and with many lamps."""
    each_us: dict[int, list[float]] = {count: [] for count in LAMPS}
    for _ in range(RUNS):
        for count in LAMPS:
            each_us[count].append(asyncio.run(serve(count)) / count * 1e6)
    ratios = [many / few for many, few in zip(each_us[max(LAMPS)], each_us[min(LAMPS)], strict=True)]
    report(MORE_LAMPS, ratios, bound="ours <= 1", note=in_words(each_us, "µs a lamp and second"))


def in_words(each_us: dict[int, list[float]], unit: str) -> str:
    """Return what one costs among so many."""
    return "; ".join(f"{count:,}: {sum(values) / len(values):,.1f} {unit}" for count, values in each_us.items())


async def probe(count: int) -> tuple[float, dict[str, Any]]:
    """Return the share of a core that a prober takes, and what it tells of itself."""
    with tempfile.TemporaryDirectory(prefix="ef") as data, embedded_server(Path(data)) as url:
        async with open_store(url, name="bench") as store:
            some = [Target(name=f"t{number}", address=ip) for number, ip in enumerate(all_hosts(count))]
            names = tuple(target.name for target in some)
            groups = [Group(name=f"g{start}", targets=names[start : start + 50]) for start in range(0, count, 50)]
            changes = [Change("targets", target.name, target.to_dict()) for target in some]
            changes += [Change("groups", group.name, group.to_dict()) for group in groups]
            await registry.change(store, lambda _: changes)
            with worker("prober", url) as process:
                await known(store, count)
                servers.pin(process.pid, 1)
                await asyncio.sleep(SETTLE_S)
                share = await asyncio.to_thread(share_of, process.pid)
                (told,) = (await workers.alive(store, "prober")).values()
                return share, told


async def known(store: Store, count: int) -> None:
    """Wait until the prober probes all targets."""
    until_s = time.monotonic() + 60
    while not any(info.get("targets") == count for info in (await workers.alive(store, "prober")).values()):
        if time.monotonic() > until_s:
            raise TimeoutError(f"the prober does not probe {count} targets: {await workers.alive(store, 'prober')}")
        await asyncio.sleep(0.2)


async def serve(count: int) -> float:
    """Return the share of a core that a gateway takes with so many lamps."""
    # Levels come often enough to be fresh.
    async with stage(count, beat_s=MEASURED_S) as ready:

        async def change() -> None:
            for number in itertools.count(1):
                await ready.publish(number % 40)
                await asyncio.sleep(1 / LEVELS_PER_S)

        changing = asyncio.create_task(change())
        port = free_port()
        try:
            with (
                tempfile.TemporaryDirectory(prefix="ef") as folder,
                worker("gateway", ready.url, SERVER_PORT=str(port)) as process,
            ):
                await asyncio.to_thread(wait_for_port, port)
                with lamps(Path(folder), port, ready.hellos) as crowd:
                    opened = await crowd.asked("connect 100")
                    assert opened["open"] == count, opened
                    living = asyncio.create_task(crowd.asked(f"live 1000 {round((MEASURED_S + 3) * 1_000)}"))
                    await asyncio.sleep(2)
                    share = await asyncio.to_thread(share_of, process.pid)
                    assert (await living)["open"] == count, "lamps were lost"
                    return share
        finally:
            changing.cancel()
            await asyncio.wait([changing], timeout=1)


@contextlib.contextmanager
def worker(name: str, url: str, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run one worker on a Redis."""
    given = {**os.environ, "REDIS_URL": url, "PYTHONPATH": str(ROOT), **environ}
    quiet = subprocess.DEVNULL
    with tempfile.TemporaryDirectory(prefix="ef") as home:
        command = [sys.executable, "-P", "-m", "espfleet", "run", name]
        with subprocess.Popen(command, cwd=home, env=given, stdin=quiet, stdout=quiet, stderr=quiet) as process:
            try:
                yield process
            finally:
                process.terminate()


def share_of(pid: int) -> float:
    """Return the share of a core that a process takes for a while."""
    before_s, at_s = cpu_s(pid), time.monotonic()
    time.sleep(MEASURED_S)
    return (cpu_s(pid) - before_s) / (time.monotonic() - at_s)


if __name__ == "__main__":
    main()

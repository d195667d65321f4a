"""How many probes one core sends and receives, and what steady probing costs: against fping.

Both run in a network namespace of their own, on one core, taking turns. What is counted is CPU time, so that whoever
else works on the machine changes the figures little. Flat out they probe 127/8, where the kernel answers in the
sender's time; paced they probe an emulated network, which answers from another core after 0.2 to 22 ms, as networks do.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.emulate import WAYS, emulated_network, hosts, missing
from bench.namespace import possible, private_network
from bench.report import not_measured, report
from espfleet.domain.targets import Address, ProbeKind
from espfleet.probes.engines import build_engines
from espfleet.probes.outcomes import Counters, Endpoint, Engine
from espfleet.probes.permission import find_out

CAP_S = 240.0

FAST = "probes per second and core on 127/8 with kernel send and receive stamps"
FAST_PEER = "fping -i 0"
FAST_BOUND = "ratio >= 1.5"
FAST_TARGETS = 10_000
FAST_RUNS = 21
#: Of CPU time, for one run.
FAST_S = 0.2
#: A round shorter than a core can fill, so that there is always something to send.
FAST_INTERVAL_MS = 50
#: fping sends this many probes to each target, once and once; the difference leaves out reading and printing.
FPING_COUNTS = (1, 5)

EACH = "probes per second and core against a process of ping for each"
EACH_PEER = "ping -c 1, a process for each probe"
EACH_BOUND = "ratio >= 150"
#: So many processes in each of so many runs.
EACH_RUNS, EACH_PINGS = 7, 20

PACED = "CPU of probing 5,000 targets a second, evenly paced, on an emulated network"
PACED_PEER = "fping -i 0.2 -p 1000"
PACED_BOUND = "ratio <= 0.3"
PACED_TARGETS = 5_000
PACED_RUNS = 9
PACED_S = 2


def main() -> None:
    """Measure and report."""
    reason = "needs root, for a network namespace" if not possible() else ""
    reason = reason or ("" if shutil.which("fping") else "needs fping")
    if reason:
        not_measured(FAST, bound=FAST_BOUND, reason=reason, unit="1/s", peer_name=FAST_PEER)
        not_measured(EACH, bound=EACH_BOUND, reason=reason, unit="1/s", peer_name=EACH_PEER)
    else:
        with private_network(), on_core(last_core()):
            fast()
    if reason := reason or missing():
        not_measured(PACED, bound=PACED_BOUND, reason=reason, unit="µs/probe", peer_name=PACED_PEER)
        return
    with private_network(), emulated_network(int(CAP_S), core=first_core()), on_core(last_core()):
        paced()


def fast() -> None:
    """Send as fast as one core can."""
    ips = addresses(FAST_TARGETS)
    engine = an_engine(ips, FAST_INTERVAL_MS, timeout_ms=200)
    ours, theirs = [], []
    with target_list(ips) as targets:
        flat_out(engine, FAST_S)  # warms up
        for _ in range(FAST_RUNS):
            ours.append(flat_out(engine, FAST_S))
            theirs.append(fping_flat_out(targets, len(ips)))
    counters = engine.counters()
    engine.close()
    report(
        FAST,
        ours,
        theirs,
        bound=FAST_BOUND,
        unit="1/s",
        peer_name=FAST_PEER,
        note=f"{what_came(counters)}; {FAST_TARGETS:,} targets; median ratio of neighbouring runs "
        f"{statistics.median(one / other for one, other in zip(ours, theirs, strict=True)):.2f}; "
        "fping without its reading and printing, and stamping sends in user space",
    )
    if shutil.which("ping"):
        each = [ping_each(ips[:EACH_PINGS]) for _ in range(EACH_RUNS)]
        report(EACH, ours, each, bound=EACH_BOUND, unit="1/s", peer_name=EACH_PEER)
    else:
        not_measured(EACH, bound=EACH_BOUND, reason="needs ping", unit="1/s", peer_name=EACH_PEER)


def paced() -> None:
    """Probe each target once a second, as a worker does."""
    ips = [ip for way in WAYS for ip in hosts(way, PACED_TARGETS // len(WAYS))]
    ours, theirs = [], []
    counters = Counters()
    with target_list(ips) as targets:
        for _ in range(PACED_RUNS):
            engine = an_engine(ips, 1_000, timeout_ms=1_000)
            ours.append(asyncio.run(worker(engine, PACED_S)))
            counters = counters.with_more(engine.counters())
            engine.close()
            command = ["fping", "-i", "0.2", "-p", "1000", "-c", str(PACED_S), "-q", "-f", str(targets)]
            theirs.append(cpu_s(command) / (PACED_S * len(ips)) * 1e6)
    report(
        PACED,
        ours,
        theirs,
        bound=PACED_BOUND,
        unit="µs/probe",
        peer_name=PACED_PEER,
        note=f"{what_came(counters)}; sends late by {counters.lateness_p50_ms:.1f} ms at the median, "
        f"{counters.lateness_p99_ms:.1f} ms at the 99th percentile",
    )


def flat_out(engine: Engine, seconds: float) -> float:
    """Tick without pause for some CPU time; return probes sent per second of it."""
    sent, begun = engine.counters().sent, time.process_time()
    while (spent := time.process_time() - begun) < seconds:
        engine.tick(time.monotonic_ns())
    return (engine.counters().sent - sent) / spent


async def worker(engine: Engine, seconds: float) -> float:
    """Tick in an event loop for a while; return microseconds of CPU time a probe."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    begun, end = time.process_time(), loop.time() + seconds

    def tick() -> None:
        engine.tick(time.monotonic_ns())
        if loop.time() >= end:
            done.set()
        else:
            loop.call_at(engine.next_tick_ns(time.monotonic_ns()) / 1e9, tick)

    tick()
    await done.wait()
    return (time.process_time() - begun) / engine.counters().sent * 1e6


def fping_flat_out(targets: Path, count: int) -> float:
    """Return probes that fping sends per second of CPU time."""
    few, many = (
        cpu_s(["fping", "-i", "0", "-p", "10", "-c", str(times), "-q", "-f", str(targets)]) for times in FPING_COUNTS
    )
    return count * (FPING_COUNTS[1] - FPING_COUNTS[0]) / (many - few)


def ping_each(ips: Sequence[str]) -> float:
    """Return probes a second of CPU time by starting a program for each, what starting takes included."""
    begun_s = time.process_time()
    children_s = sum(cpu_s(["ping", "-n", "-c", "1", "-W", "1", ip]) for ip in ips)
    return len(ips) / (children_s + time.process_time() - begun_s)


def cpu_s(command: Sequence[str]) -> float:
    """Return the CPU time of a command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    if done.returncode not in (0, 1):  # 1: some probes were lost
        raise subprocess.CalledProcessError(done.returncode, command)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def an_engine(ips: Sequence[str], interval_ms: int, timeout_ms: int) -> Engine:
    """Return an ICMP engine with batches and kernel stamps."""
    endpoints = [Endpoint(ip, Address(kind=ProbeKind.ICMP, host=ip), timeout_ms) for ip in ips]
    ((engine, _),) = build_engines(endpoints, interval_ms, permission=find_out(), addresses={})
    return engine


def addresses(count: int) -> list[str]:
    """Return different addresses that are all this machine."""
    first = int(ipaddress.IPv4Address("127.1.0.1"))
    return [str(ipaddress.IPv4Address(first + number)) for number in range(count)]


@contextlib.contextmanager
def target_list(ips: Sequence[str]) -> Iterator[Path]:
    """Write addresses to a file for fping."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "targets"
        path.write_text("\n".join(ips))
        yield path


def first_core() -> int:
    """Return the core for what answers."""
    return min(os.sched_getaffinity(0))


def last_core() -> int:
    """Return the core for what asks."""
    return max(os.sched_getaffinity(0))


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Stay on one core, together with the processes started meanwhile."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def what_came(counters: Counters) -> str:
    """Return what became of the probes, in words."""
    return (
        f"{counters.sent:,} probes sent, {counters.lost:,} lost, {counters.local_drops:,} dropped by this machine, "
        f"{counters.unstamped:,} without kernel stamps"
    )


if __name__ == "__main__":
    main()

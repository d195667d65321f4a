"""Where the time goes: short profiles of processes under the loads of the benches, kept in ``docs/profiles/``.

``python -m bench.profiles gateway_levels`` takes one of them, without a name all. It needs ``py-spy`` (``.venv/bin/pip
install py-spy``), and root to look into other processes. Sampling disturbs what is sampled: the figures of
``docs/performance.md`` are taken without it.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from bench import emulate, namespace
from bench import whole_fleet as whole
from bench.costs import targets, viewers
from bench.costs.gateways import Publisher, a_fleet, a_gateway, started
from bench.gateway import allow_files, set_up
from bench.growth import known, worker
from bench.load_test import next_row, simulator
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.reply_to_lamp import fleet, wait_for_port
from bench.stage import gateway as one_gateway
from bench.stage import stage
from espfleet.domain.groups import Group
from espfleet.domain.tokens import new_token
from espfleet.simulator.session import FULL_KEEPALIVE_EVERY
from espfleet.store import registry
from espfleet.store.client import open_store
from espfleet.store.registry import Change
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "profiles"
LAMPS = 5_000
SIMULATED = 3_000
TARGETS = 50_000
READERS = 200
SAMPLED_S = 6
#: Connecting takes no longer.
SHORT_S = 3
TOP = 12

#: Yields the processes to look into by name.
Load = Callable[[], AbstractAsyncContextManager[Mapping[str, int]]]


@asynccontextmanager
async def gateway_keepalives() -> AsyncIterator[Mapping[str, int]]:
    """Lamps that send two keepalives a second each, and are told nothing."""
    async with gateway(0, 500) as pids:
        yield pids


@asynccontextmanager
async def gateway_levels() -> AsyncIterator[Mapping[str, int]]:
    """Lamps that are told eight levels a second each, and send a keepalive a second."""
    async with gateway(8, 1_000) as pids:
        yield pids


@asynccontextmanager
async def gateway(changes: int, every_ms: int) -> AsyncIterator[Mapping[str, int]]:
    """Run a gateway with lamps."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder:
        async with a_fleet() as (store, url):
            hellos = await set_up(store, LAMPS)
            async with Publisher(store, ("wan",)) as publisher, a_gateway(url) as (pid, port):
                with lamps(Path(folder), port, hellos) as crowd:
                    assert (await crowd.asked("connect 200"))["open"] == LAMPS
                    publisher.changes = changes
                    crowd.tell(f"live {every_ms} 60000")
                    await asyncio.sleep(1)
                    yield {"gateway": pid}


@asynccontextmanager
async def gateway_connects() -> AsyncIterator[Mapping[str, int]]:
    """Lamps that connect, as fast as they are let in."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder:
        async with a_fleet() as (store, url):
            hellos = await set_up(store, 2 * LAMPS)
            async with Publisher(store, ("wan",)), a_gateway(url) as (pid, port):
                with lamps(Path(folder), port, hellos) as crowd:
                    await asyncio.sleep(1)
                    crowd.tell("connect 200")
                    yield {"gateway": pid}


@asynccontextmanager
async def targets_50k() -> AsyncIterator[Mapping[str, int]]:
    """50,000 targets, each probed once a second."""
    async with a_fleet() as (store, url):
        await registry.change(store, lambda _: targets.changes(TARGETS))
        with worker("leveler", url) as leveler, worker("prober", url) as prober:
            await known(store, TARGETS)
            await asyncio.sleep(3)
            yield {"prober": prober.pid, "leveler": leveler.pid}


@asynccontextmanager
async def web_readers() -> AsyncIterator[Mapping[str, int]]:
    """Readers of the live feed, ten times fifty levels a second."""
    async with a_fleet() as (store, url):
        groups = [Change("groups", name, Group(name=name).to_dict()) for name in viewers.GROUPS]
        await registry.change(store, lambda _: groups)
        port = free_port()
        with worker("web", url, WEB_PORT=str(port)) as web:
            await asyncio.to_thread(wait_for_port, port)
            async with Publisher(store, viewers.GROUPS) as publisher:
                publisher.changes = 10
                reading = [asyncio.create_task(viewers.Reader(port, [0, 0]).run()) for _ in range(READERS)]
                try:
                    await asyncio.sleep(6)
                    yield {"web": web.pid}
                finally:
                    for one in reading:
                        one.cancel()
                    await asyncio.gather(*reading, return_exceptions=True)


@asynccontextmanager
async def whole_fleet() -> AsyncIterator[Mapping[str, int]]:
    """The fleet of the bench of that name: 10,000 lamps, 1,000 targets, all processes as users run them."""
    tokens = [new_token() for _ in range(whole.LAMPS)]

    async def set_up_fleet(url: str) -> None:
        async with open_store(url, name="bench") as store:
            await registry.change(store, lambda _: whole.changes(tokens))

    with ExitStack() as stack:
        stack.enter_context(emulate.emulated_network(whole.EMULATED_S))
        home, folder = (stack.enter_context(tempfile.TemporaryDirectory(prefix="ef")) for _ in range(2))
        # It runs a loop of its own.
        port, pid = await asyncio.to_thread(stack.enter_context, fleet(Path(home), set_up_fleet))
        await asyncio.sleep(whole.SETTLE_S)
        hellos = [whole.hello(number, token) for number, token in enumerate(tokens)]
        crowd = stack.enter_context(lamps(Path(folder), port, hellos))
        assert (await crowd.asked("connect 200"))["open"] == whole.LAMPS
        crowd.tell(f"numbers {FULL_KEEPALIVE_EVERY}")
        crowd.tell("live 1000 120000")
        await asyncio.sleep(5)
        yield {role: one for role, one in whole.processes(pid, home).items() if role not in ("redis", "up")}


@asynccontextmanager
async def load_test() -> AsyncIterator[Mapping[str, int]]:
    """Lamps of ``simulate --lamps`` on a gateway, with the settings that users have."""
    port = free_port()
    async with stage(0) as ready:
        with one_gateway(ready.url, port) as serving:
            await asyncio.to_thread(wait_for_port, port)
            with simulator(ready.url, port, SIMULATED) as testing:
                while (row := await next_row(testing))["kind"] != "second" or row["connected"] < SIMULATED:
                    pass
                yield {"gateway": serving.pid, "simulator": testing.pid}


def bench_of(name: str) -> Load:
    """Return a load that is another bench, which works in its own process."""

    @asynccontextmanager
    async def running() -> AsyncIterator[Mapping[str, int]]:
        with started([sys.executable, "-m", f"bench.{name}"]) as process:
            await asyncio.sleep(2)
            yield {name: process.pid}

    running.__doc__ = f"What ``make bench BENCH={name}`` does, its peers included where they are Python."
    return running


LOADS: Mapping[str, tuple[Load, int]] = {
    "gateway_connects": (gateway_connects, SHORT_S),
    "gateway_keepalives": (gateway_keepalives, SAMPLED_S),
    "gateway_levels": (gateway_levels, SAMPLED_S),
    "levels": (bench_of("levels"), SAMPLED_S),
    "load_test": (load_test, SAMPLED_S),
    "prober": (bench_of("prober"), SAMPLED_S),
    "targets_50k": (targets_50k, SAMPLED_S),
    "web_readers": (web_readers, 2 * SAMPLED_S),
    "whole_fleet": (whole_fleet, SAMPLED_S),
}


def take(names: Sequence[str]) -> int:
    """Take profiles of these names, or all; return the exit code."""
    unknown = [name for name in names if name not in LOADS]
    if unknown:
        print(f"there is no profile {', '.join(unknown)}; there are: {', '.join(LOADS)}", file=sys.stderr)
        return 2
    lack = servers.missing("gcc") or ("" if namespace.possible() else "needs root, to look into other processes")
    if lack or not spy().exists():
        print(lack or "needs py-spy: .venv/bin/pip install py-spy", file=sys.stderr)
        return 1
    allow_files()
    FOLDER.mkdir(exist_ok=True)
    for name in names or LOADS:
        with namespace.private_network():
            found = asyncio.run(profile(*LOADS[name]))
        for role, text in found.items():
            path = FOLDER / f"{name if len(found) == 1 else f'{name}_{role}'}.txt"
            path.write_text(f"{LOADS[name][0].__doc__}\n{text}")
            print(f"--- {path.relative_to(ROOT)}\n{text}", flush=True)
    return 0


def spy() -> Path:
    """Return where the profiler is, if it is there."""
    return Path(sys.executable).parent / "py-spy"


async def profile(load: Load, for_s: int) -> dict[str, str]:
    """Return what each process of a load spends its time on."""
    async with load() as pids:
        return {role: await asyncio.to_thread(look, role, pid, for_s) for role, pid in pids.items()}


def look(role: str, pid: int, for_s: int) -> str:
    """Return what one process spends its time on."""
    with tempfile.NamedTemporaryFile("r", suffix=".folded") as file:
        before, at_s = ticks(pid), time.monotonic()
        subprocess.run(
            [
                spy(),
                "record",
                "-d",
                str(for_s),
                "-r",
                "250",
                "-f",
                "raw",
                "-o",
                file.name,
                "--nonblocking",
                "--pid",
                str(pid),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        passed_s = time.monotonic() - at_s
        user_s, kernel_s = (
            (now - then) / os.sysconf("SC_CLK_TCK") for now, then in zip(ticks(pid), before, strict=True)
        )
        share = (user_s + kernel_s) / passed_s
        head = f"{role}: {share:.0%} of a core, of which {kernel_s / max(user_s + kernel_s, 1e-9):.0%} in the kernel"
        return f"{head}\n\n{table(file.read().splitlines())}"


def table(stacks: Sequence[str]) -> str:
    """Return the functions that took most, as text.

    Args:
        stacks: Lines of frames, from outermost to innermost with semicolons between, and how often each was seen.
    """
    alone: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack in stacks:
        path, _, seen = stack.rpartition(" ")
        frames = [named(frame) for frame in path.split(";")]
        alone[frames[-1]] += int(seen)
        within.update(dict.fromkeys(frames, int(seen)))
    whole = max(sum(alone.values()), 1)
    rows = [f"{count / whole:6.1%} {within[name] / whole:6.1%}  {name}" for name, count in alone.most_common(TOP)]
    return "\n".join(["  self  within  function", *rows, ""])


def named(frame: str) -> str:
    """Return a frame by its function and file, without its line."""
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame


def ticks(pid: int) -> tuple[int, int]:
    """Return the CPU time of a process by user and kernel, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])


if __name__ == "__main__":
    sys.exit(take(sys.argv[1:]))

"""Where the time goes: short profiles of processes under the loads of the benches, kept in ``docs/profiles/``.

``python -m bench.profiles gateway_levels`` takes one of them, without a name all. It needs ``py-spy`` (``.venv/bin/pip
install py-spy``), and root to look into other processes. Sampling disturbs what is sampled: the figures of
``docs/performance.md`` are taken without it.
"""

from __future__ import annotations

import asyncio
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from pathlib import Path

from bench import boards, emulate, namespace, restart, tls_memory, weighing
from bench import whole_fleet as whole
from bench.costs import targets, viewers
from bench.costs.gateways import Publisher, a_fleet, a_gateway, started
from bench.gateway import allow_files, set_up
from bench.growth import known, worker
from bench.load_test import next_row, simulator
from bench.peers import servers
from bench.peers.lamps import lamps
from bench.reply_to_lamp import fleet, wait_for_port
from bench.sampling import look, spy
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
SAMPLED_S = 12
#: Connecting takes no longer.
SHORT_S = 3

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


@asynccontextmanager
async def tls_connects() -> AsyncIterator[Mapping[str, int]]:
    """Lamps that connect over TLS one after the other, and stay."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ef") as home:
        async with stage(LAMPS) as ready:
            with one_gateway(ready.url, port, ESPFLEET_HOME=home, TLS="on") as serving:
                await asyncio.to_thread(wait_for_port, port)
                context = weighing.trusting(Path(home))
                coming = asyncio.create_task(come(context, port, ready.hellos))
                await asyncio.sleep(1)
                try:
                    yield {"gateway": serving.pid}
                finally:
                    coming.cancel()
                    await asyncio.wait([coming])


async def come(context: ssl.SSLContext, port: int, hellos: Sequence[str]) -> None:
    """Be lamps that come over TLS, until cancelled."""
    stay = []
    try:
        for hello in hellos:
            stay.append(await asyncio.to_thread(tls_memory.open_lamp, context, port, hello))
    finally:
        for one in stay:
            one.close()


@asynccontextmanager
async def storm() -> AsyncIterator[Mapping[str, int]]:
    """A gateway from its start, to which 10,000 lamps return whose gateway was killed."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ef") as folder:
        async with stage(restart.LAMPS) as ready:
            with one_gateway(ready.url, port) as doomed:
                await asyncio.to_thread(wait_for_port, port)
                with lamps(Path(folder), port, ready.hellos) as crowd:
                    assert (await crowd.asked("connect 200"))["open"] == restart.LAMPS
                    await crowd.asked("live 1000 3000")
                    crowd.tell(f"storm {restart.LATEST_MS}")
                    await asyncio.sleep(0.5)
                    doomed.kill()
                    with one_gateway(ready.url, port) as serving:
                        yield {"gateway": serving.pid}


def bench_of(name: str, *workers: str, after_s: float = 2.0) -> Load:
    """Return a load that is another bench.

    Args:
        name: Of the bench.
        workers: Workers that it starts, whom to look at; without, the bench works in its own process.
        after_s: How long after they have started.
    """

    @asynccontextmanager
    async def running() -> AsyncIterator[Mapping[str, int]]:
        with started([sys.executable, "-m", f"bench.{name}"]) as process:
            found = {name: process.pid}
            while workers and set(workers) - set(found := offspring(process.pid)):
                assert process.poll() is None, f"{name} has ended before {', '.join(workers)} began"
                await asyncio.sleep(0.1)
            await asyncio.sleep(after_s)
            yield {role: pid for role, pid in found.items() if role in workers or not workers}

    running.__doc__ = f"What ``make bench BENCH={name}`` does, its peers included where they are Python."
    return running


@asynccontextmanager
async def thousand_boards() -> AsyncIterator[Mapping[str, int]]:
    """A thousand boards that are visited each five seconds: the process that visits them."""
    with started([sys.executable, "-m", "bench.boards"]) as process:
        while "serve" not in offspring(process.pid):
            assert process.poll() is None, "the bench has ended"
            await asyncio.sleep(0.1)
        await asyncio.sleep(boards.WARM_S)
        yield {"boards": process.pid}


def offspring(parent: int) -> dict[str, int]:
    """Return the processes that one has started, and those that these have, by their worker or last words."""
    words, parents = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words[int(folder.name)] = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            # It has ended.
            continue
    found, family = {}, {parent}
    for pid in sorted(words):
        if parents.get(pid) in family and pid in parents:
            family.add(pid)
            for mark in ("run", "bench.boards"):
                if mark in words[pid][:-1]:
                    found[words[pid][words[pid].index(mark) + 1]] = pid
    return found


LOADS: Mapping[str, tuple[Load, int]] = {
    "boards": (thousand_boards, SAMPLED_S),
    "gateway_connects": (gateway_connects, SHORT_S),
    "gateway_keepalives": (gateway_keepalives, SAMPLED_S),
    "gateway_levels": (gateway_levels, SAMPLED_S),
    "hub": (bench_of("hub", "gateway", "web"), SAMPLED_S),
    "levels": (bench_of("levels"), SAMPLED_S),
    "load_test": (load_test, SAMPLED_S),
    "prober": (bench_of("prober"), SAMPLED_S),
    "reply_to_lamp": (bench_of("reply_to_lamp", "prober", "leveler", "gateway", after_s=10), SAMPLED_S),
    "restart": (storm, SHORT_S + 3),
    "rtt_accuracy": (bench_of("rtt_accuracy"), SAMPLED_S),
    "targets_50k": (targets_50k, SAMPLED_S),
    "tls_connects": (tls_connects, SAMPLED_S),
    "web_readers": (web_readers, SAMPLED_S),
    "whole_fleet": (whole_fleet, SAMPLED_S),
}
#: What memory is spent on.
WEIGHED: Mapping[str, Callable[[], str]] = {
    "firmware": weighing.firmware,
    "gateway_memory": weighing.gateway_memory,
}


def take(names: Sequence[str]) -> int:
    """Take profiles of these names, or all; return the exit code."""
    known = sorted((*LOADS, *WEIGHED))
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"there is no profile {', '.join(unknown)}; there are: {', '.join(known)}", file=sys.stderr)
        return 2
    lack = servers.missing("gcc") or ("" if namespace.possible() else "needs root, to look into other processes")
    if lack or not spy().exists():
        print(lack or "needs py-spy: .venv/bin/pip install py-spy", file=sys.stderr)
        return 1
    allow_files()
    FOLDER.mkdir(exist_ok=True)
    for name in names or known:
        with namespace.private_network():
            if name in WEIGHED:
                keep(name, WEIGHED[name].__doc__, WEIGHED[name]())
                continue
            found = asyncio.run(profile(*LOADS[name]))
        for role, text in found.items():
            keep(name if len(found) == 1 else f"{name}_{role}", LOADS[name][0].__doc__, text)
    return 0


def keep(name: str, head: str | None, text: str) -> None:
    """Write a profile to its file, and show it."""
    path = FOLDER / f"{name}.txt"
    path.write_text(f"{head}\n{text}")
    print(f"--- {path.relative_to(ROOT)}\n{text}", flush=True)


async def profile(load: Load, for_s: int) -> dict[str, str]:
    """Return what each process of a load spends its time on."""
    async with load() as pids:
        return {role: await asyncio.to_thread(look, role, pid, for_s) for role, pid in pids.items()}


if __name__ == "__main__":
    sys.exit(take(sys.argv[1:]))

"""``run prober --processes 2`` and ``run leveler --processes 2``: two that share the work, also when one is killed."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
import redis

from espfleet.domain.samples import Layout, unpack
from espfleet.services import groups, targets
from espfleet.store.client import open_store
from espfleet.store.keys import Keys
from espfleet.workers import leveler, prober
from tests.whole.fleet import Fleet, Workers, wait_for

TARGETS = 16
INTERVAL_MS = 200
#: So many that neither of two has none by chance.
SHARDS = 16
#: What is promised, and what a machine may add that does much else meanwhile.
MOVES_WITHIN_MS = 3_000
BUSY_MS = 2_000
KEYS = Keys()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    fleet = Fleet(tmp_path, ESPFLEET_SHARDS=str(SHARDS))
    with ExitStack() as stack:
        ready = Workers(fleet, stack)
        yield ready
    assert "Traceback" not in ready.log.read_text()
    assert fleet.processes() == {}


def started(workers: Workers, worker: str) -> tuple[subprocess.Popen[bytes], redis.Redis]:
    """Start two processes of a worker on an embedded server that they begin, and return their parent."""
    parent = workers.start(worker, "--processes", "2")
    wait_for(lambda: len(children(workers, worker)) == 2, 15, workers.log.read_text)
    path = workers.fleet.home / ".espfleet" / "redis.sock"
    wait_for(path.exists, 15, workers.log.read_text)
    return parent, redis.Redis(unix_socket_path=str(path))


def children(workers: Workers, worker: str) -> set[int]:
    """Return the process ids of the workers themselves."""
    return set(workers.fleet.processes().get(f"run {worker}", ()))


def time_ms(client: redis.Redis) -> int:
    seconds, microseconds = client.time()
    return seconds * 1_000 + microseconds // 1_000


def pid_of(worker: str) -> int:
    found = re.search(r"-(\d+)-[0-9a-f]+$", worker)
    assert found, worker
    return int(found[1])


async def set_up_targets(url: str) -> None:
    async with open_store(url, name="test", shards=SHARDS) as store:
        for number in range(TARGETS):
            await targets.add(
                store, name=f"t{number}", address=f"sim://calm?seed={number}", interval_ms=INTERVAL_MS, timeout_ms=100
            )


async def set_up_groups(url: str) -> None:
    async with open_store(url, name="test", shards=SHARDS) as store:
        for number in range(4):
            await groups.add(store, name=f"g{number}")


def probes(client: redis.Redis, since_ms: int) -> Mapping[str, list[tuple[int, int]]]:
    """Return when samples of each target were written, by the server's clock, and the process that wrote them."""
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for shard in range(SHARDS):
        for entry_id, fields in client.xrange(KEYS.samples(shard), f"{since_ms}-0"):
            layout = Layout.from_json(client.get(KEYS.layout(shard, fields[b"l"].decode())) or "")
            at_ms, pid = int(entry_id.partition(b"-")[0]), pid_of(fields[b"w"].decode())
            for slot in unpack(fields[b"b"]).slots:
                found[layout.targets[slot]].append((at_ms, pid))
    return found


def shared(client: redis.Redis, pids: set[int], for_ms: int) -> dict[str, int]:
    """Return the only process that probed each target of late, or nothing while that is not so or one has none."""
    written = probes(client, time_ms(client) - for_ms)
    by = {name: {pid for _, pid in samples} for name, samples in written.items()}
    if len(by) < TARGETS or any(len(some) > 1 for some in by.values()) or set().union(*by.values()) != pids:
        return {}
    return {name: min(some) for name, some in by.items()}


def test_two_processes_of_a_prober_share_the_targets_and_what_a_killed_one_had_moves(workers: Workers) -> None:
    parent, client = started(workers, "prober")
    with client:
        asyncio.run(set_up_targets(f"unix://{workers.fleet.home}/.espfleet/redis.sock"))
        first = children(workers, "prober")
        shares = wait_for(lambda: shared(client, first, 1_000), 20, lambda: probes(client, time_ms(client) - 1_000))
        doomed = shares["t0"]
        had = {name for name, pid in shares.items() if pid == doomed}
        killed_ms = time_ms(client)
        os.kill(doomed, signal.SIGKILL)

        def taken_over() -> dict[str, int]:
            written = probes(client, killed_ms)
            new = {name: [at_ms for at_ms, pid in written[name] if pid != doomed] for name in had}
            return {name: min(at) for name, at in new.items()} if all(new.values()) else {}

        moved_ms = max(wait_for(taken_over, 20, workers.log.read_text).values()) - killed_ms
        assert moved_ms < MOVES_WITHIN_MS + INTERVAL_MS + BUSY_MS
        # The parent has started another one, which takes its part.
        wait_for(lambda: len(children(workers, "prober") - {doomed}) == 2, 15, workers.log.read_text)
        second = children(workers, "prober")
        assert first & second == first - {doomed}
        wait_for(lambda: shared(client, second, 1_000), 20, lambda: probes(client, time_ms(client) - 1_000))
    assert "prober has ended (signal 9); starting it again" in workers.log.read_text()
    parent.terminate()
    assert parent.wait(60) == 0
    assert workers.fleet.processes() == {}


def owners(client: redis.Redis) -> dict[int, int]:
    """Return which process has each shard; nothing while one has none or is not told about."""
    names = [client.get(KEYS.owner(f"s{shard}")) for shard in range(SHARDS)]
    if not all(names) or not all(client.exists(KEYS.beat(shard)) for shard in range(SHARDS)):
        return {}
    return {shard: pid_of(name.decode()) for shard, name in enumerate(names) if name}


def said_to_own(client: redis.Redis) -> list[int]:
    """Return the shards that living levelers say they have."""
    told = [client.get(name) for name in client.scan_iter(KEYS.worker("leveler", "*"))]
    return sorted(shard for info in told if info for shard in json.loads(info)["shards"])


def test_two_processes_of_a_leveler_share_the_shards_and_those_of_a_killed_one_move(workers: Workers) -> None:
    parent, client = started(workers, "leveler")
    said = workers.log.read_text
    with client:
        asyncio.run(set_up_groups(f"unix://{workers.fleet.home}/.espfleet/redis.sock"))
        first = children(workers, "leveler")

        def settled(pids: set[int]) -> dict[int, int]:
            found = owners(client)
            each_once = said_to_own(client) == list(range(SHARDS))
            return found if each_once and set(found.values()) == pids else {}

        shares = wait_for(lambda: settled(first), 20, lambda: f"{owners(client)} {said_to_own(client)} {said()}")
        doomed = shares[0]
        had = {shard for shard, pid in shares.items() if pid == doomed}
        fences = {shard: int(client.get(KEYS.fence(f"s{shard}")) or 0) for shard in had}
        killed_ms = time_ms(client)
        os.kill(doomed, signal.SIGKILL)

        def taken_over_ms() -> int:
            at_ms, now = time_ms(client), owners(client)
            new = all(now.get(shard, doomed) != doomed for shard in had)
            return at_ms if new and all(int(client.get(KEYS.fence(f"s{one}")) or 0) > fences[one] for one in had) else 0

        moved_ms = wait_for(taken_over_ms, 20, said) - killed_ms
        assert moved_ms < MOVES_WITHIN_MS + BUSY_MS
        wait_for(lambda: len(children(workers, "leveler") - {doomed}) == 2, 15, said)
        second = children(workers, "leveler")
        assert first & second == first - {doomed}
        wait_for(lambda: settled(second), 20, lambda: f"{owners(client)} {said_to_own(client)} {said()}")
    assert "leveler has ended (signal 9); starting it again" in said()
    parent.terminate()
    assert parent.wait(60) == 0
    assert workers.fleet.processes() == {}


def test_what_each_worker_waits_for_before_it_takes_over_fits_into_what_is_promised() -> None:
    """The tests above allow for a busy machine; this one does not."""
    prober_ms = prober.LIFE_MS + prober.BEAT_S * 1_000
    leveler_ms = leveler.LEASE_MS + (leveler.BEAT_S + leveler.CLAIM_S) * 1_000
    assert max(prober_ms, leveler_ms) <= MOVES_WITHIN_MS - 500

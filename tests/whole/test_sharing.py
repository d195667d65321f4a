"""Workers of one kind share the work through Redis alone; what a killed one had goes on elsewhere."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import pytest
import redis

from espfleet.domain.states import GroupLevel, State
from espfleet.services import groups, targets
from espfleet.store.client import Store, open_store
from espfleet.store.keys import Keys
from tests.own_time import calm_s
from tests.whole.fleet import Fleet, Workers, wait_for

Answer = TypeVar("Answer")
TARGETS = 12
#: What the issue of these workers promises, and what starting commands to look takes on a busy machine.
MOVES_WITHIN_S = 5.0
TAKEN_OVER_WITHIN_S = 3.0
LOOKING_S = 3.0


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    fleet = Fleet(tmp_path)
    with ExitStack() as stack:
        # The embedded server runs for as long as somebody uses it.
        ready = Workers(fleet, stack)
        ready.start("steward")
        wait_for(lambda: "the sweep is mine" in ready.log.read_text(), 15, ready.log.read_text)
        asyncio.run(set_up(f"unix://{socket_of(fleet)}"))
        yield ready
    assert "Traceback" not in ready.log.read_text()
    assert fleet.processes() == {}


def socket_of(fleet: Fleet) -> Path:
    return fleet.home / ".espfleet" / "redis.sock"


async def set_up(url: str) -> None:
    """Make four groups of simulated targets."""
    async with open_store(url, name="test") as store:
        for number in range(4):
            await groups.add(store, name=f"g{number}")
        for number in range(TARGETS):
            await targets.add(store, name=f"t{number}", address=f"sim://calm?seed={number}", group=f"g{number % 4}")


def shares(client: redis.Redis) -> list[int]:
    """Return how many targets each living prober says are its own."""
    names = client.scan_iter(Keys().worker("prober", "*"))
    return sorted(json.loads(found)["targets"] for name in names if (found := client.get(name)))


def asked(fleet: Fleet, what: Callable[[Store], Awaitable[Answer]]) -> Answer:
    """Ask as commands do, but in this process: again and again, a command keeps the machine busy."""

    async def ask() -> Answer:
        async with open_store(f"unix://{socket_of(fleet)}", name="test") as store:
            return await what(store)

    return asyncio.run(ask())


def oldest_ms(fleet: Fleet) -> float:
    """Return the age of the oldest newest sample among all targets."""
    ages = [view.summary.age_ms if view.summary else None for view in asked(fleet, targets.views)]
    assert len(ages) == TARGETS
    return max(float("inf") if age is None else age for age in ages)


def levels(fleet: Fleet) -> dict[str, GroupLevel]:
    """Return the level of each group."""
    views = asked(fleet, lambda store: groups.views(store, now_ms=round(time.time() * 1_000)))
    return {view.group.name: view.level for view in views}


def all_ok(fleet: Fleet) -> bool:
    """Return whether every group has a level that says something."""
    return all(level.state is State.OK for level in levels(fleet).values())


def test_the_targets_of_a_killed_prober_move_to_the_other(workers: Workers) -> None:
    fleet = workers.fleet
    workers.start("leveler")
    first, second = workers.start("prober"), workers.start("prober")
    wait_for(lambda: oldest_ms(fleet) < 2_000, 20, lambda: f"{fleet.ask('targets')} {workers.log.read_text()}")
    with redis.Redis(unix_socket_path=str(socket_of(fleet))) as client:
        wait_for(
            lambda: len(shares(client)) == 2 and sum(shares(client)) == TARGETS and min(shares(client)) > 0,
            10,
            lambda: f"two shares, not {shares(client)}",
        )
        first.kill()
        killed = time.monotonic()
        wait_for(
            lambda: shares(client) == [TARGETS],
            TAKEN_OVER_WITHIN_S + 1.0,
            lambda: f"all targets are the other's: {shares(client)} {workers.log.read_text()}",
        )
    wait_for(
        lambda: time.monotonic() - killed > 2.5 and oldest_ms(fleet) < 2_000,
        MOVES_WITHIN_S + LOOKING_S,
        workers.log.read_text,
    )
    assert second.poll() is None


def test_a_killed_leveler_loses_no_sample_and_its_shards_go_on(workers: Workers) -> None:
    fleet = workers.fleet
    workers.start("prober")
    levelers = [workers.start("leveler"), workers.start("leveler")]
    wait_for(lambda: all_ok(fleet), 20, lambda: f"{levels(fleet)}")
    client = redis.Redis(unix_socket_path=str(socket_of(fleet)))
    keys = Keys()
    wait_for(lambda: len(list(client.scan_iter(keys.worker("leveler", "*")))) == 2, 20, workers.log.read_text)
    owners: dict[int, str] = {}

    def owned() -> bool:
        # While shards move to the second leveler, some have no owner.
        owners.update({shard: (client.get(keys.owner(f"s{shard}")) or b"").decode() for shard in range(4)})
        return all(owners.values())

    wait_for(owned, 20, workers.log.read_text)
    doomed = next(leveler for leveler in levelers if f"-{leveler.pid}-" in owners[0])
    doomed.kill()
    killed = calm_s()
    mine = [shard for shard, owner in owners.items() if owner == owners[0]]
    fences = {shard: int(client.get(keys.fence(f"s{shard}")) or 0) for shard in mine}

    def taken_over() -> bool:
        return all(
            int(client.get(keys.fence(f"s{shard}")) or 0) > fences[shard] and client.exists(keys.beat(shard))
            for shard in mine
        )

    wait_for(
        taken_over,
        TAKEN_OVER_WITHIN_S + 1.0,
        lambda: f"shards {mine} are published again: {workers.log.read_text()}",
    )
    assert calm_s() - killed < TAKEN_OVER_WITHIN_S + 1.0
    # Everything that was ever written is acknowledged by whoever owns the shard now.
    written = {shard: client.xinfo_stream(keys.samples(shard))["last-generated-id"] for shard in range(4)}
    wait_for(lambda: not any(unread(client, keys, *one) for one in written.items()), 5, lambda: "all samples are used")
    counted = fleet.ask("why", "g1")["samples"]
    in_streams = sum(client.xlen(keys.samples(shard)) for shard in range(4))
    assert counted > 0
    assert in_streams > counted
    client.close()


def unread(client: redis.Redis, keys: Keys, shard: int, last_id: bytes) -> bool:
    """Return whether there is an entry of a shard up to this one that nobody has acknowledged."""
    (group,) = client.xinfo_groups(keys.samples(shard))
    pending = client.xpending_range(keys.samples(shard), group["name"], "-", last_id, 1)
    return bool(pending) or place(group["last-delivered-id"]) < place(last_id)


def place(entry_id: bytes) -> tuple[int, ...]:
    """Return an id of an entry as numbers that sort as the stream does."""
    return tuple(int(part) for part in entry_id.split(b"-"))


def test_a_stopped_leveler_cannot_publish_when_it_wakes_up(workers: Workers) -> None:
    fleet = workers.fleet
    workers.start("prober")
    first = workers.start("leveler")
    wait_for(lambda: all_ok(fleet), 20, workers.log.read_text)
    os.kill(first.pid, signal.SIGSTOP)
    workers.start("leveler")
    client = redis.Redis(unix_socket_path=str(socket_of(fleet)))
    keys = Keys()
    wait_for(
        lambda: all(
            f"-{first.pid}-".encode() not in (client.get(keys.owner(f"s{shard}")) or b"-") for shard in range(4)
        ),
        15,
        workers.log.read_text,
    )
    fences = {shard: int(client.get(keys.fence(f"s{shard}")) or 0) for shard in range(4)}
    before = {name: level.seq for name, level in levels(fleet).items()}
    os.kill(first.pid, signal.SIGCONT)
    wait_for(
        lambda: "has run out" in workers.log.read_text() or "has passed" in workers.log.read_text(),
        10,
        workers.log.read_text,
    )
    wait_for(lambda: all_ok(fleet), 15, workers.log.read_text)
    after = {name: level.seq for name, level in levels(fleet).items()}
    assert all(after[name] >= before[name] for name in before)
    assert all(int(client.get(keys.fence(f"s{shard}")) or 0) >= fences[shard] for shard in range(4))
    client.close()


def gateways(fleet: Fleet) -> list[int]:
    """Return the process ids of the gateways that share a port."""
    return sorted(
        pid for words, pids in fleet.processes().items() if words.startswith("run gateway --share") for pid in pids
    )


def test_gateways_on_one_port_are_replaced_one_by_one_and_end_with_their_parent(workers: Workers) -> None:
    fleet = workers.fleet
    parent = workers.start("gateway", "--processes", "2", "--drain", "5")
    said = workers.log.read_text
    wait_for(lambda: said().count("the gateway listens on") == 2, 20, said)
    old = gateways(fleet)
    parent.send_signal(signal.SIGHUP)
    wait_for(lambda: "all processes are new" in said(), 30, said)
    new = gateways(fleet)
    assert len(new) == 2
    assert not set(old) & set(new)
    os.kill(new[0], signal.SIGKILL)
    wait_for(lambda: len(gateways(fleet)) == 2 and new[0] not in gateways(fleet), 10, said)
    parent.kill()
    wait_for(lambda: gateways(fleet) == [], 10, said)


def test_a_port_that_is_taken_and_options_of_no_use_are_refused(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fleet.port))
        taken.listen()
        told = fleet.type("run", "gateway", "--processes", "2")
    assert told.returncode == 1
    assert f"cannot listen on 127.0.0.1:{fleet.port}" in told.stderr
    for words, sentence in {
        ("steward", "--processes", "2"): "steward runs once on a machine",
        ("prober", "--drain", "5"): "prober has no lamps to hand over",
        ("gateway", "--processes", "0"): "processes",
    }.items():
        told = fleet.type("run", *words)
        assert told.returncode != 0
        assert sentence in told.stderr
        assert "Traceback" not in told.stderr


def test_two_ups_at_once_make_one_fleet(tmp_path: Path) -> None:
    fleet = Fleet(tmp_path)
    both = [
        subprocess.Popen(
            fleet.command("up", "--nodemo"),
            env=fleet.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(2)
    ]
    try:
        wait_for(lambda: any(one.poll() is not None for one in both), 15, lambda: "one of them is refused")
        refused = next(one for one in both if one.poll() is not None)
        assert refused.returncode == 1
        assert "is running in" in refused.communicate(timeout=30)[0]
        other = next(one for one in both if one is not refused)
        wait_for(lambda: fleet.type("doctor").returncode == 0, 15, lambda: "the other one works")
        assert other.poll() is None
    finally:
        for one in both:
            one.terminate()
        for one in both:
            one.communicate(timeout=30)
    assert fleet.processes() == {}

"""Sentinel, Cluster, TLS and a move: the same store on other arrangements of servers."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.points import Point
from espfleet.domain.rooms import new_room
from espfleet.domain.samples import Layout
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.errors import LockLostError, StoreError, StoreUnavailableError
from espfleet.store import (
    boards,
    commands,
    events,
    levels,
    locks,
    points,
    presence,
    raw,
    readings,
    registry,
    samples,
    turns,
    workers,
)
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.feed import CommandSent, EventSent, Feed, LevelsChanged, RegistryChanged, Resync, Topic
from espfleet.store.leases import Lease
from espfleet.store.registry import Change
from espfleet.store.samples import Entry, ShardReader, StreamEntry, read_shards
from espfleet.store.servers import Keeping, keeping
from espfleet.store.turns import Outcome
from espfleet.workers.steward import Steward
from tests.conftest import check_lifetimes, emptied_store, wait_until
from tests.own_time import calm_s
from tests.servers import Server, clustered, free_ports, serving, watched

HOUR_MS = 3_600_000
IDS = [f"{number:012x}" for number in range(40)]


@pytest.fixture(scope="module")
def cluster_url() -> Iterator[str]:
    """URL of a Cluster of three servers, each with a third of the slots."""
    with clustered(3) as url:
        yield url


@pytest.fixture
async def cluster(cluster_url: str) -> AsyncIterator[Store]:
    async with emptied_store(cluster_url) as store:
        yield store
        await check_lifetimes(store)


async def test_a_cluster_keeps_the_registry(cluster: Store) -> None:
    def plan(number: int, before: registry.Registry) -> list[Change]:
        return [Change("rooms", f"room-{number}", new_room(f"room-{number}").to_dict())]

    await asyncio.gather(*(registry.change(cluster, lambda before, n=n: plan(n, before)) for n in range(10)))
    assert len((await registry.load(cluster)).rooms) == 10


async def test_each_primary_of_a_cluster_tells_how_it_keeps_what_it_is_told(cluster: Store) -> None:
    assert await keeping(cluster) == [Keeping(logs=False, evicts="", replicas=0, guarded=False)] * 3


async def test_all_go_by_the_clock_of_one_server_of_a_cluster(cluster: Store, readers: list[ShardReader]) -> None:
    primaries = cluster.redis.get_primaries()

    async def asked() -> list[int]:
        found = [await cluster.redis.info("commandstats", target_nodes=[node]) for node in primaries]
        return [info.get("cmdstat_time", {}).get("calls", 0) for info in found]

    before = await asked()
    for node in primaries:
        # Which one a client asks for what has no key depends on when it has come.
        cluster.redis.set_default_node(node)
        await cluster.time_ms()
        await cluster.settle()
        await turns.read(cluster, readers, block_ms=1, count=1)
    more = [now - then for then, now in zip(before, await asked(), strict=True)]
    assert sorted(more)[:2] == [0, 0]
    assert sum(more) >= 9


async def pending(store: Store, shard: int) -> int:
    (group,) = await store.redis.xinfo_groups(store.keys.samples(shard))
    return int(group["pending"])


async def test_a_cluster_carries_samples_and_levels(cluster: Store) -> None:
    assert len(await samples.init_consumers(cluster)) == 8
    layout = Layout(1_000, 500, ("router",))
    entries = [Entry(number % 8, "prober-1", number, layout.layout_id, b"x") for number in range(80)]
    assert len(await samples.append(cluster, entries, 1_000)) == 8
    readers = [ShardReader(cluster, shard, "leveler-1") for shard in range(8)]
    found = await read_shards(cluster, readers, 100, 100)
    assert {shard: [entry.seq for entry in some] for shard, some in found.items()} == {
        shard: list(range(shard, 80, 8)) for shard in range(8)
    }
    reading = asyncio.create_task(read_shards(cluster, readers, 300, 100))
    await asyncio.sleep(0.05)
    await samples.append(cluster, entries[:1], 1_000)
    assert [entry.seq for entry in (await reading)[0]] == [0]
    assert len(await ShardReader(cluster, 3, "leveler-2").claim_all()) == 10
    assert len(await readers[3].since("-")) == 10

    for reader in readers:
        reader.done(found[reader.shard])
    await samples.append(cluster, entries[:8], 1_000)
    turn = await turns.read(cluster, readers, 300, 100)
    for reader in readers:
        await reader.stop()
    assert turn.entries
    assert turn.registry_version == await registry.version(cluster)
    # One was claimed by somebody else; of each shard at most what has just been written is not acknowledged.
    assert max(await asyncio.gather(*(pending(cluster, shard) for shard in range(8)))) <= 2

    outcomes = []
    for shard in range(8):
        lease = await Lease.take(cluster, f"s{shard}", "ann", 60_000)
        assert lease is not None
        level = GroupLevel(group=f"group-{shard}", level=shard, state=State.OK, at_ms=1)
        outcomes.append(Outcome(shard=shard, fence=lease.fence - (shard == 7), levels=[level], snapshot=b"\0"))
    assert await turns.write(cluster, outcomes, 1) == {7}
    await levels.publish(cluster, 7, outcomes[7].fence + 1, outcomes[7].levels or (), 1)
    assert await levels.get_snapshot(cluster, 5) == b"\0"
    snapshot = await levels.read_levels(cluster)
    assert (len(snapshot.levels), snapshot.fresh_shards) == (8, set(range(8)))


@pytest.fixture
async def readers(cluster: Store) -> AsyncIterator[list[ShardReader]]:
    """Readers of all shards that have got all there was, on a Cluster; their waits end with the test."""
    await samples.init_consumers(cluster)
    made = [ShardReader(cluster, shard, "leveler-1") for shard in range(cluster.shards)]
    assert await read_shards(cluster, made, 10, 10) == {}
    for reader in made:
        await reader.stop()
    yield made
    for reader in made:
        await reader.stop()


async def write(store: Store, shard: int, *seqs: int) -> None:
    await samples.append(store, [Entry(shard, "prober-1", seq, "0f", b"") for seq in seqs], 1_000)


def seqs(found: dict[int, list[StreamEntry]]) -> dict[int, list[int]]:
    return {shard: [entry.seq for entry in entries] for shard, entries in found.items()}


async def test_on_a_cluster_nobody_waits_for_a_shard_that_has_nothing(
    cluster: Store, readers: list[ShardReader]
) -> None:
    began_s = calm_s()
    for seq in range(10):
        reading = asyncio.create_task(read_shards(cluster, readers, 2_000, 10))
        await write(cluster, seq % 3, seq)
        assert seqs(await reading) == {seq % 3: [seq]}
    # Each would take 2 s, for five shards have nothing.
    assert calm_s() - began_s < 10.0


async def test_on_a_cluster_what_comes_between_two_reads_comes_with_the_next(
    cluster: Store, readers: list[ShardReader]
) -> None:
    await write(cluster, 1, 1)
    assert seqs(await read_shards(cluster, readers, 2_000, 10)) == {1: [1]}
    await write(cluster, 5, *range(20))
    found: list[int] = []
    while len(found) < 20:
        some = seqs(await read_shards(cluster, readers, 2_000, 10))
        assert some.keys() == {5}
        assert len(some[5]) <= 10
        found += some[5]
    assert found == list(range(20))


async def test_on_a_cluster_a_read_that_is_cancelled_loses_nothing(cluster: Store, readers: list[ShardReader]) -> None:
    got: list[int] = []

    async def take(found: dict[int, list[StreamEntry]]) -> None:
        for shard, entries in found.items():
            got.extend(entry.seq for entry in entries)
            await readers[shard].ack([entry.entry_id for entry in entries])

    for number in range(24):
        reading = asyncio.create_task(read_shards(cluster, readers, 500, 10))
        await asyncio.sleep(0.002 * (number % 4))
        await write(cluster, number % 8, number)
        reading.cancel()
        [answer] = await asyncio.gather(reading, return_exceptions=True)
        if isinstance(answer, dict):
            await take(answer)
    while found := await read_shards(cluster, readers, 100, 10):
        await take(found)
    assert sorted(got) == list(range(24))


async def test_on_a_cluster_a_shard_is_given_up_with_all_that_came(cluster: Store, readers: list[ShardReader]) -> None:
    reading = asyncio.create_task(read_shards(cluster, readers, 2_000, 10))
    await wait_until(lambda: readers[5]._wait is not None)
    await write(cluster, 1, 1)
    assert seqs(await reading) == {1: [1]}
    # Its wait is under way, and takes this, which nobody asks for any more.
    await write(cluster, 5, 2)
    await wait_until(lambda: pending(cluster, 5))
    await readers[5].stop()
    await write(cluster, 5, 3)
    heir = ShardReader(cluster, 5, "leveler-2")
    assert [entry.seq for entry in await heir.claim_all()] == [2]
    assert [entry.seq for entry in await heir.read(2_000, 10)] == [3]


async def test_on_a_cluster_a_stream_that_vanishes_while_it_is_waited_for_is_read_when_it_is_back(
    cluster: Store, readers: list[ShardReader]
) -> None:
    await write(cluster, 1, 1)
    assert seqs(await read_shards(cluster, readers, 2_000, 10)) == {1: [1]}
    await cluster.do("DEL", cluster.keys.samples(5))
    await write(cluster, 5, 2)
    found: dict[int, list[int]] = {}
    while not found:
        found = seqs(await read_shards(cluster, readers, 200, 10))
    assert found == {5: [2]}


async def test_a_cluster_keeps_locks_of_devices_one_at_a_time_and_in_order(cluster: Store) -> None:
    inside: dict[str, int] = dict.fromkeys(IDS[:6], 0)
    fences: dict[str, list[int]] = {device_id: [] for device_id in inside}

    async def work(device_id: str) -> None:
        async with locks.locked(cluster, device_id, wait_ms=20_000) as lock:
            inside[device_id] += 1
            assert inside[device_id] == 1
            fences[device_id].append(lock.fence)
            await asyncio.sleep(0.001)
            inside[device_id] -= 1

    await asyncio.gather(*(work(device_id) for device_id in inside for _ in range(8)))
    # Who came later got a larger number, on each server.
    assert all(len(some) == 8 and some == sorted(set(some)) for some in fences.values())
    assert len({shard_of(device_id, cluster.shards) for device_id in inside}) > 2


async def test_on_a_cluster_a_dead_holder_frees_a_lock_in_time_and_stores_nothing_late(cluster: Store) -> None:
    for device_id in IDS[:4]:
        dead = await locks.take(cluster, device_id, ttl_ms=150)
        assert dead is not None
        assert await locks.take(cluster, device_id, wait_ms=0) is None
        heir = await locks.take(cluster, device_id, wait_ms=20_000)
        assert heir is not None
        await boards.put(cluster, heir, f=100.0, gpio={22: 1}, at_ms=2)
        with pytest.raises(LockLostError):
            await boards.put(cluster, dead, f=90.0, gpio={22: 0}, at_ms=1)
        state = await boards.get(cluster, device_id)
        assert state is not None
        assert state.gpio == {22: 1}
        assert await heir.release()


async def test_keys_on_all_servers_of_a_cluster_are_listed(cluster: Store) -> None:
    for device_id in IDS[:20]:
        await readings.put(cluster, device_id, {"f": 1.0}, 1)
    listed = await raw.keys(cluster, ":readings:")
    assert sorted(one.key.rpartition(":")[2] for one in listed) == IDS[:20]
    assert all(one.kind == "hash" and one.size_bytes > 0 and one.ttl_ms for one in listed)
    assert await raw.send(cluster, ["hget", cluster.keys.readings(shard_of(IDS[0], cluster.shards), IDS[0]), "f"])


async def test_a_cluster_knows_who_is_there(cluster: Store) -> None:
    for device_id in IDS:
        session = presence.Session(session_id="s", gateway="g", watchdog_ms=500)
        await presence.came(cluster, device_id, session)
    assert await presence.refresh(cluster, "g", dict.fromkeys(IDS, 500)) == []
    assert {one.presence for one in (await presence.read_presence(cluster, IDS)).values()} == {Presence.LIVE}
    assert await presence.went(cluster, IDS[0], "s", Reason.CLOSED)

    async def offline() -> bool:
        found = await presence.read_presence(cluster, IDS)
        return {one.presence for one in found.values()} == {Presence.OFFLINE}

    await wait_until(offline)
    assert len(await presence.sweep(cluster, await presence.times(cluster))) == len(IDS) - 1
    assert len(await events.read(cluster, count=1_000)) == 2 * len(IDS)
    await workers.beat(cluster, "steward", "ann", {})
    assert list(await workers.alive(cluster, "steward")) == ["ann"]
    await readings.put(cluster, IDS[0], {"t": 1.0}, 1)
    assert (await readings.get(cluster, IDS[0]))["t"].value == 1.0
    await presence.forget(cluster, IDS[0])


@pytest.mark.parametrize("off_ms", [-5_000, 5_000], ids=["frozen, or set ahead", "set back"])
async def test_nobody_is_found_at_a_server_of_a_cluster_that_is_not_where_it_was(cluster: Store, off_ms: int) -> None:
    await die(cluster, IDS)
    there = shard_of(IDS[0], cluster.shards)
    times_ms = await presence.times(cluster)
    times_ms[there] += off_ms
    found = {gone.device_id for gone in await presence.sweep(cluster, times_ms)}
    assert found == {device_id for device_id in IDS if shard_of(device_id, cluster.shards) != there}
    assert IDS[0] in {gone.device_id for gone in await presence.sweep(cluster, await presence.times(cluster))}


async def test_a_server_of_a_cluster_that_takes_nothing_tells_no_time(cluster: Store) -> None:
    for node in cluster.redis.get_primaries():
        await cluster.redis.config_set("min-replicas-to-write", 1, target_nodes=[node])
        try:
            with pytest.raises(StoreError, match="NOREPLICAS"):
                await presence.times(cluster)
        finally:
            await cluster.redis.config_set("min-replicas-to-write", 0, target_nodes=[node])
    assert len(await presence.times(cluster)) == cluster.shards


async def test_who_is_there_does_not_outlast_a_dead_gateway_where_one_server_of_a_cluster_was_set_back(
    cluster: Store,
) -> None:
    steward = Steward(cluster, "one")
    await steward._sweep()
    for device_id in IDS[:8]:
        part = shard_of(device_id, cluster.shards)
        await presence.came(cluster, device_id, presence.Session(session_id="s", gateway="g", watchdog_ms=3_000))
        # As it is known to one that saw the clock of its server an hour ahead.
        await cluster.redis.zadd(cluster.keys.due(part), {device_id: await cluster.time_ms() + HOUR_MS})
        await cluster.do("PEXPIRE", cluster.keys.alive(part, device_id), HOUR_MS)
        steward._swept_at_ms = [at_ms + HOUR_MS * (n == part) for n, at_ms in enumerate(steward._swept_at_ms)]
        await steward._sweep()
        assert 0 < await cluster.do("PTTL", cluster.keys.alive(part, device_id)) <= 3_000
        assert float(await cluster.do("ZSCORE", cluster.keys.due(part), device_id)) < await cluster.time_ms() + 60_000


async def die(store: Store, ids: Sequence[str]) -> None:
    """Let devices come to a gateway that does not keep them alive."""
    for device_id in ids:
        await presence.came(store, device_id, presence.Session(session_id="s", gateway="g", watchdog_ms=30))

    async def are_offline() -> bool:
        found = await presence.read_presence(store, ids)
        return {one.presence for one in found.values()} == {Presence.OFFLINE}

    await wait_until(are_offline)


async def test_a_cluster_tells_what_happens(cluster: Store) -> None:
    async with Feed(cluster, Topic) as feed:
        assert await anext(feed) == Resync()
        await registry.change(cluster, lambda _: [Change("rooms", "hall", new_room("hall").to_dict())])
        assert isinstance(await anext(feed), RegistryChanged)
        await events.add(cluster, "hello", {})
        assert isinstance(await anext(feed), EventSent)
        lease = await Lease.take(cluster, "s3", "ann", 60_000)
        assert lease is not None
        level = GroupLevel(group="a", level=7, state=State.OK, at_ms=1)
        await levels.publish(cluster, 3, lease.fence, [level], 1)
        assert isinstance(await anext(feed), LevelsChanged)
        sending = asyncio.create_task(commands.send(cluster, IDS[0], {"action": "identify"}))
        told = await anext(feed)
        assert isinstance(told, CommandSent)
        await commands.answer(cluster, told.device_id, told.command["id"], {"ok": True})
        assert await sending == {"ok": True}


async def test_a_cluster_shows_metrics_that_were_read_and_not_sent(cluster: Store) -> None:
    await points.make_group(cluster)
    await points.append(cluster, [Point("espfleet.lamps", 7.0, 1)])
    (read,) = await points.read(cluster, "ann", 10)
    (shown,) = await points.pending(cluster)
    assert (shown["id"], shown["consumer"], shown["times"]) == (read.entry_id, "ann", 1)
    assert (await points.info(cluster))["pending"] == 1


# --- Sentinel


@pytest.fixture
def sentinel() -> Iterator[tuple[str, Server]]:
    """URL of a Sentinel that watches over a server and its replica, and the server."""
    with watched() as found:
        yield found


@pytest.mark.slow
async def test_behind_sentinels_the_fleet_goes_on_when_its_server_dies(sentinel: tuple[str, Server]) -> None:
    url, first = sentinel
    async with open_store(url, name="test", retries=0) as store, Feed(store, Topic, silence_s=1.0) as feed:
        assert await anext(feed) == Resync()
        after = await registry.change(store, lambda _: [Change("rooms", "hall", new_room("hall").to_dict())])
        assert isinstance(await anext(feed), RegistryChanged)
        await store.do("WAIT", 1, 1_000)

        first.end()
        with pytest.raises(StoreUnavailableError, match=r"does not answer|cannot work now"):
            await registry.load(store)

        async def back() -> bool:
            with contextlib.suppress(StoreUnavailableError):
                return await workers.beat(store, "prober", "host-1", {})
            return False

        await wait_until(back)
        assert await registry.load(store) == after
        async with asyncio.timeout(30.0):
            while not isinstance(await anext(feed), Resync):
                pass
            await events.add(store, "hello", {})
            while not isinstance(await anext(feed), EventSent):
                pass


async def test_a_server_that_is_not_the_primary_any_more_is_not_asked(
    sentinel: tuple[str, Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, first = sentinel
    async with open_store(url, name="test", retries=0) as store:
        replica = (await store.redis.info("replication"))["slave0"]
        stale, right = ("127.0.0.1", replica["port"]), ("127.0.0.1", first.port)
        told: list[tuple[str, int | None]] = []

        async def tell() -> tuple[str, int | None]:
            return told[0]

        monkeypatch.setattr(store.redis.connection_pool, "get_master_address", tell)
        told[:] = [stale]
        await store.redis.connection_pool.disconnect()
        with pytest.raises(StoreUnavailableError, match="is not the primary any more"):
            await registry.load(store)
        told[:] = [right]
        assert (await registry.load(store)).version == 0


# --- TLS, moving house


@pytest.mark.package("redis-server")
@pytest.mark.package("openssl")
async def test_connections_can_be_encrypted(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    files = ("-keyout", str(key), "-out", str(certificate))
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    run("openssl", "req", "-x509", "-days", "2", *kind, *names, *files)
    plain_port, tls_port = free_ports(2)
    options = ("--tls-port", str(tls_port), "--tls-auth-clients", "no", "--requirepass", "secret")
    options += ("--tls-cert-file", str(certificate), "--tls-key-file", str(key), "--tls-ca-cert-file", str(certificate))
    with serving(*options, program=shutil.which("redis-server"), port=plain_port):
        url = f"rediss://:secret@localhost:{tls_port}/0"
        async with open_store(f"{url}?ssl_ca_certs={certificate}", name="test") as store, Feed(store, Topic) as feed:
            assert await anext(feed) == Resync()
            await events.add(store, "hello", {})
            assert isinstance(await anext(feed), EventSent)
        with pytest.raises(StoreUnavailableError, match="does not answer"):
            async with open_store(url, name="test", retries=0):
                pass


@pytest.mark.package("redis-server")
async def test_a_fleet_can_move_to_debians_server(data: Path) -> None:
    with embedded_server(data) as url:
        async with open_store(url, name="test") as store:
            before = await registry.change(store, lambda _: [Change("rooms", "hall", new_room("hall").to_dict())])
            await samples.init_consumers(store)
            await samples.append(store, [Entry(3, "prober-1", 1, "0f", b"x")], 1_000)
            await presence.came(store, IDS[0], presence.Session(session_id="s", gateway="g", watchdog_ms=60_000))
    moved = data.parent / "moved"
    shutil.copytree(data / "appendonlydir", moved / "appendonlydir")
    with serving("--appendonly", "yes", program=shutil.which("redis-server"), folder=moved) as server:
        async with open_store(server.url, name="test") as store:
            assert await registry.load(store) == before
            assert [entry.seq for entry in await ShardReader(store, 3, "leveler-1").read(100, 10)] == [1]
            assert (await presence.read_presence(store, IDS[:1]))[IDS[0]].presence is Presence.LIVE


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)

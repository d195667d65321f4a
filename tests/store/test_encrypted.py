"""A Cluster and Sentinels that speak nothing but TLS, with certificates of the fleet's own authority."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from espfleet.certificates.folder import Folder
from espfleet.domain.rooms import new_room
from espfleet.domain.samples import Layout
from espfleet.domain.states import GroupLevel, State
from espfleet.errors import StoreUnavailableError
from espfleet.store import commands, levels, locks, presence, registry, samples, workers
from espfleet.store.client import Store, open_store
from espfleet.store.feed import CommandSent, Feed, LevelsChanged, RegistryChanged, Resync, Topic
from espfleet.store.leases import Lease
from espfleet.store.registry import Change
from espfleet.store.samples import Entry, ShardReader, read_shards
from tests.conftest import wait_until
from tests.servers import Server, clients_of, cluster_of, watched
from tests.store.conftest import DEBIAN_SERVER

pytestmark = pytest.mark.package(DEBIAN_SERVER)

DEVICE = "0" * 11 + "7"
HALL = Change("rooms", "hall", new_room("hall").to_dict())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("fleet"), lambda: datetime.datetime.now(datetime.UTC))
    made.make(["127.0.0.1"])
    return made


@pytest.fixture(scope="module")
def servers(certificates: Folder) -> Iterator[list[Server]]:
    """A Cluster of three primaries with a replica each."""
    with cluster_of(3, 3, shutil.which(DEBIAN_SERVER), certificates) as found:
        yield found


@pytest.fixture
async def cluster(servers: list[Server], certificates: Folder) -> AsyncIterator[Store]:
    async with open_store(clients_of(servers, certificates), name="test", retries=1) as store:
        yield store


async def take(store: Store, duty: str) -> Lease:
    lease = await Lease.take(store, duty, "ann", 60_000)
    assert lease is not None
    return lease


async def test_a_fleet_works_on_a_cluster_over_tls(cluster: Store) -> None:
    async with Feed(cluster, Topic) as feed:
        assert await anext(feed) == Resync()
        after = await registry.change(cluster, lambda _: [HALL])
        assert await registry.load(cluster) == after
        assert isinstance(await anext(feed), RegistryChanged)

        await samples.init_consumers(cluster)
        layout = Layout(1_000, 500, ("router",))
        await samples.append(cluster, [Entry(shard, "prober-1", 1, layout.layout_id, b"x") for shard in range(8)], 100)
        readers = [ShardReader(cluster, shard, "leveler-1") for shard in range(8)]
        found = await read_shards(cluster, readers, 1_000, 10)
        assert {shard for shard, entries in found.items() if entries}

        # Channels of all shards are on all three servers.
        for shard in range(8):
            lease = await take(cluster, f"s{shard}")
            level = GroupLevel(group=f"group-{shard}", level=shard, state=State.OK, at_ms=1)
            await levels.publish(cluster, shard, lease.fence, [level], 1)
            told = await anext(feed)
            assert isinstance(told, LevelsChanged)
            assert told.shard == shard
        assert len((await levels.read_levels(cluster)).levels) == 8

        await presence.came(cluster, DEVICE, presence.Session(session_id="s", gateway="g", watchdog_ms=60_000))
        sending = asyncio.create_task(commands.send(cluster, DEVICE, {"action": "identify"}))
        while not isinstance(told := await anext(feed), CommandSent):
            pass
        await commands.answer(cluster, told.device_id, told.command["id"], {"ok": True})
        assert await sending == {"ok": True}
        async with locks.locked(cluster, DEVICE, wait_ms=1_000):
            assert await locks.take(cluster, DEVICE, wait_ms=0) is None
        for reader in readers:
            await reader.stop()


async def test_servers_of_a_cluster_whose_authority_is_another_are_not_spoken_to(
    servers: list[Server], tmp_path: Path
) -> None:
    other = Folder(tmp_path, lambda: datetime.datetime.now(datetime.UTC))
    other.make(["127.0.0.1"])
    with pytest.raises(StoreUnavailableError):
        async with open_store(clients_of(servers, other), name="test", retries=0, open_within_s=5.0):
            pass


async def works(store: Store) -> bool:
    """Return whether something can be written and read on every server."""
    with contextlib.suppress(StoreUnavailableError):
        await registry.load(store)
        for shard in range(8):
            await store.do("SET", f"{{s{shard}}}:tried", "1", "PX", 1_000)
        return True
    return False


@pytest.mark.slow
async def test_a_server_of_a_cluster_that_dies_is_followed_over_tls(cluster: Store, servers: list[Server]) -> None:
    after = await registry.change(cluster, lambda _: [HALL])
    channel_shard = next(shard for shard in range(8) if served_by(cluster, shard, servers[0]))
    lease = await take(cluster, f"s{channel_shard}")
    async with Feed(cluster, Topic, silence_s=1.0) as feed:
        assert await anext(feed) == Resync()
        await wait_until(lambda: replicated(servers[0]))
        servers[0].end()
        await wait_until(lambda: works(cluster))
        assert await registry.load(cluster) == after

        async def heard() -> bool:
            with contextlib.suppress(StoreUnavailableError, TimeoutError):
                level = GroupLevel(group="a", level=7, state=State.OK, at_ms=1)
                await levels.publish(cluster, channel_shard, lease.fence, [level], 1)
                async with asyncio.timeout(1):
                    told = await anext(feed)
                    return isinstance(told, LevelsChanged) and told.shard == channel_shard
            return False

        await wait_until(heard)


def replicated(server: Server) -> bool:
    """Return whether the replica has all that a server has."""
    with contextlib.closing(server.client()) as client:
        found = client.info("replication")
    return bool(found["slave0"]["offset"] >= found["master_repl_offset"])


def served_by(store: Store, shard: int, server: Server) -> bool:
    node = store.redis.get_node_from_key(store.keys.levels(shard))
    return bool(node.port == server.port)


@pytest.mark.slow
async def test_sentinels_over_tls_tell_of_servers_over_tls_and_are_followed(certificates: Folder) -> None:
    with watched(shutil.which(DEBIAN_SERVER), certificates) as (url, first):
        assert url.startswith("rediss+sentinel://")
        async with open_store(url, name="test", retries=0) as store, Feed(store, Topic, silence_s=1.0) as feed:
            assert await anext(feed) == Resync()
            after = await registry.change(store, lambda _: [HALL])
            assert isinstance(await anext(feed), RegistryChanged)
            await store.do("WAIT", 1, 1_000)
            first.end()

            async def back() -> bool:
                with contextlib.suppress(StoreUnavailableError):
                    return await workers.beat(store, "prober", "host-1", {})
                return False

            await wait_until(back)
            assert await registry.load(store) == after
            async with asyncio.timeout(60):
                while not isinstance(await anext(feed), Resync):
                    pass

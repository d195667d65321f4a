"""On a Cluster each message goes to one server, is heard there, and is followed to where it goes next."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from redis import Redis
from redis.crc import key_slot

from espfleet.domain.shards import shard_of
from espfleet.domain.video import Arrival
from espfleet.errors import StoreError
from espfleet.store import events, pictures
from espfleet.store.client import Store, open_store
from espfleet.store.feed import Beat, EventSent, Feed, RegistryChanged, Resync, Topic
from tests.conftest import emptied_store, wait_until
from tests.servers import Server, clients_of, cluster_of
from tests.store.conftest import DEBIAN_SERVER

SHARDS = range(8)
CAMERA = "0c0000000001"


class Cluster:
    """Three primaries with a replica each, and what each of the six servers knows."""

    def __init__(self, servers: list[Server], stack: contextlib.ExitStack) -> None:
        self.servers = servers
        self.failed: set[int] = set()
        self.url = clients_of(servers)
        self.clients = [
            stack.enter_context(contextlib.closing(Redis(port=server.port, decode_responses=True)))
            for server in servers
        ]

    def primary(self, channel: str) -> int:
        """Return the number of the server that has the channel now."""
        slot = key_slot(channel.encode())
        end = time.monotonic() + 10.0
        # Between two primaries a server may know of none.
        for client in itertools.cycle(self._living()):
            for low, high, (_, port, *_), *_ in client.execute_command("CLUSTER SLOTS"):
                if low <= slot <= high:
                    return next(number for number, server in enumerate(self.servers) if server.port == port)
            assert time.monotonic() < end, f"nobody has {channel}"
        raise AssertionError("no server is left")

    def hand_over(self, channel: str) -> None:
        """Make the replica of the channel's server the primary."""
        number = self.primary(channel)
        self.clients[(number + 3) % 6].execute_command("CLUSTER", "FAILOVER")

    def move(self, channel: str) -> None:
        """Give the channel's slot, in which no key may be, to another primary."""
        slot, old = key_slot(channel.encode()), self.primary(channel)
        new = next(self.primary(f"{{s{shard}}}") for shard in SHARDS if self.primary(f"{{s{shard}}}") != old)
        name = self.clients[new].execute_command("CLUSTER", "MYID")
        for number in (new, old):
            self.clients[number].execute_command("CLUSTER", "SETSLOT", slot, "NODE", name)

    def fail(self, number: int, how: int) -> None:
        """Send a server a signal after which it answers no more."""
        self.servers[number].signal(how)
        self.failed.add(number)

    def listeners(self) -> list[int]:
        """Return how many connections listen at each server that has not failed."""
        return [
            0 if number in self.failed else len(client.client_list(_type="pubsub"))
            for number, client in enumerate(self.clients)
        ]

    def told_to_servers(self, kind: str) -> int:
        """Return how many messages of a kind the servers have sent to one another."""
        return sum(
            int(client.execute_command("CLUSTER INFO").get(f"cluster_stats_messages_{kind}_sent", 0))
            for client in self.clients
        )

    def shards_of(self, store: Store, number: int) -> set[int]:
        """Return the shards that a server has."""
        return {shard for shard in SHARDS if self.primary(store.keys.levels_channel(shard)) == number}

    def _living(self) -> list[Redis]:
        return [client for number, client in enumerate(self.clients) if number not in self.failed]


@pytest.fixture(
    scope="module", params=["embedded", pytest.param(DEBIAN_SERVER, marks=pytest.mark.package(DEBIAN_SERVER))]
)
def lasting(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Run a Cluster for all tests that kill nothing, on each kind of server in turn."""
    program = shutil.which(DEBIAN_SERVER) if request.param == DEBIAN_SERVER else None
    with cluster_of(3, 3, program) as servers, contextlib.ExitStack() as stack:
        yield Cluster(servers, stack)


@pytest.fixture
def mortal() -> Iterator[Cluster]:
    """Run a Cluster for a test that kills its servers."""
    with cluster_of(3, 3) as servers, contextlib.ExitStack() as stack:
        yield Cluster(servers, stack)


@pytest.fixture
async def store(lasting: Cluster) -> AsyncIterator[Store]:
    async with emptied_store(lasting.url) as opened:
        yield opened


async def beat(store: Store, shard: int, at_ms: int = 1) -> None:
    told = json.dumps({"shard": shard, "seq": 1, "at_ms": at_ms})
    await store.do("SPUBLISH", store.keys.levels_channel(shard), told)


async def beat_all(store: Store) -> None:
    """Beat for all shards, as levelers do, whatever happens to the servers."""

    async def beat_one(shard: int) -> None:
        while True:
            with contextlib.suppress(StoreError):
                await beat(store, shard)
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as tasks:
        for shard in SHARDS:
            tasks.create_task(beat_one(shard))


async def hear(feed: Feed, shards: set[int]) -> bool:
    """Wait for a beat of each of these shards; return whether something may have been missed before the last."""
    left, missed = set(shards), False
    while left:
        told = await anext(feed)
        missed = missed or isinstance(told, Resync)
        if isinstance(told, Beat):
            left.discard(told.shard)
    return missed


async def test_all_shards_are_heard_on_one_connection_for_each_primary(store: Store, lasting: Cluster) -> None:
    async with Feed(store, Topic) as feed:
        assert await anext(feed) == Resync()
        assert lasting.listeners() == [1, 1, 1, 0, 0, 0]
        for shard in SHARDS:
            await beat(store, shard)
            assert await anext(feed) == Beat(shard, 1, 1)
    await wait_until(lambda: lasting.listeners() == [0] * 6)


async def test_a_feed_listens_only_where_its_channels_are(store: Store, lasting: Cluster) -> None:
    async with Feed(store, [Topic.EVENTS]) as feed:
        assert await anext(feed) == Resync()
        where = lasting.primary(store.keys.events_channel())
        assert lasting.listeners() == [int(number == where) for number in range(6)]
        assert lasting.clients[where].execute_command("PUBSUB", "SHARDCHANNELS") == [store.keys.events_channel()]


async def test_a_message_goes_to_no_other_primary(store: Store, lasting: Cluster) -> None:
    async with Feed(store, Topic) as feed, asyncio.timeout(30):
        assert await anext(feed) == Resync()
        to_all, to_replicas = lasting.told_to_servers("publish"), lasting.told_to_servers("publishshard")
        for number in range(20):
            await events.add(store, "hello", {"number": number})
            assert isinstance(await anext(feed), EventSent)
        assert lasting.told_to_servers("publish") == to_all
        # Its replica alone has it too.
        await wait_until(lambda: lasting.told_to_servers("publishshard") == to_replicas + 20)


async def test_channels_are_followed_when_a_server_hands_over(store: Store, lasting: Cluster) -> None:
    beating = asyncio.create_task(beat_all(store))
    async with Feed(store, [Topic.LEVELS], silence_s=60) as feed, asyncio.timeout(30):
        assert await anext(feed) == Resync()
        assert not await hear(feed, set(SHARDS))
        channel = store.keys.levels_channel(3)
        before = lasting.primary(channel)
        lasting.hand_over(channel)
        while await anext(feed) != Resync():
            pass
        assert lasting.primary(channel) != before
        await hear(feed, set(SHARDS))
        listeners = lasting.listeners()
        assert (listeners[before], sum(listeners)) == (0, 3)
    beating.cancel()


async def test_channels_are_followed_when_slots_move(store: Store, lasting: Cluster) -> None:
    async with Feed(store, [Topic.LEVELS], silence_s=60) as feed, asyncio.timeout(30):
        assert await anext(feed) == Resync()
        channel = store.keys.levels_channel(5)
        before = lasting.primary(channel)
        lasting.move(channel)
        assert await anext(feed) == Resync()
        assert lasting.primary(channel) != before

        async def heard() -> bool:
            # The one who tells learns of the move by itself.
            await beat(store, 5)
            return isinstance(await anext(feed), Beat)

        await wait_until(heard)
        assert sum(lasting.listeners()) == len({lasting.primary(store.keys.levels_channel(shard)) for shard in SHARDS})


async def test_where_no_beats_are_due_silence_is_no_fault(store: Store, lasting: Cluster) -> None:
    async with Feed(store, [Topic.REGISTRY], silence_s=0.2) as feed:
        assert await anext(feed) == Resync()
        told = asyncio.ensure_future(anext(feed))
        await asyncio.sleep(1.5)
        assert not told.done()
        await store.do("SPUBLISH", store.keys.registry_channel(), "7")
        assert await told == RegistryChanged(7)


async def test_pictures_are_followed_when_a_server_hands_over(store: Store, lasting: Cluster) -> None:
    channel = store.keys.pictures_channel(shard_of(CAMERA, store.shards), CAMERA)
    await pictures.put(store, CAMERA, b"old", Arrival(1, 1, 1))
    following = pictures.follow(store, CAMERA)
    async with asyncio.timeout(30):
        assert await anext(following) == b"old"
        waiting = asyncio.ensure_future(anext(following))
        before = lasting.primary(channel)
        lasting.hand_over(channel)
        await wait_until(lambda: lasting.primary(channel) != before and sum(lasting.listeners()) == 1)
        assert await waiting == b"old"
        await pictures.put(store, CAMERA, b"new", Arrival(1, 1, 1))
        while await anext(following) != b"new":
            pass
    await following.aclose()


@pytest.mark.slow
async def test_primaries_that_fail_are_followed_to_their_replicas_and_the_others_are_heard(mortal: Cluster) -> None:
    async with open_store(mortal.url, name="test") as store, asyncio.timeout(90):
        beating = asyncio.create_task(beat_all(store))
        quiet_channel = store.keys.registry_channel()
        stalled = mortal.primary(quiet_channel)
        killed = next(number for number in range(3) if number != stalled)
        async with (
            Feed(store, Topic, silence_s=2.0) as feed,
            Feed(store, [Topic.REGISTRY], silence_s=2.0) as quiet,
        ):
            assert await anext(feed) == await anext(quiet) == Resync()
            assert not await hear(feed, set(SHARDS))
            for number, how in ((killed, signal.SIGKILL), (stalled, signal.SIGSTOP)):
                lost = mortal.shards_of(store, number)
                mortal.fail(number, how)
                # Nothing of the others is missed while it is not yet replaced.
                missed = [await hear(feed, set(SHARDS) - lost)]
                while len(missed) < 3 and not missed[-1]:
                    missed.append(await hear(feed, set(SHARDS) - lost))
                if missed[-1]:
                    assert mortal.primary(store.keys.levels_channel(min(lost))) != number
                else:
                    while await anext(feed) != Resync():
                        pass
                await hear(feed, set(SHARDS))
            # A server that merely stalled tells nobody; on this feed nothing was due that could be missed.
            assert await anext(quiet) == Resync()
            assert mortal.primary(quiet_channel) == stalled + 3
            await store.do("SPUBLISH", quiet_channel, "7")
            assert await anext(quiet) == RegistryChanged(7)
            assert sum(mortal.listeners()) == 3 + 1
        beating.cancel()

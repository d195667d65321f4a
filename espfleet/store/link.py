"""A connection on which the messages of some channels come, and which server of a Cluster they come from.

All channels are sharded ones: on a Cluster a message goes to the server that has the slot of the channel's tag, and to
its replicas, instead of to every server. On one server alone they are as any other, and cost the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Mapping
from typing import NamedTuple

from redis.asyncio.client import PubSub
from redis.crc import key_slot
from redis.exceptions import MovedError

from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.store.client import ANSWER_WITHIN_S, Store
from espfleet.store.faults import translated
from espfleet.store.urls import Server

#: How long a server of a Cluster may take to tell who has which slots, in seconds; there are others to ask.
ASK_WITHIN_S = 1.0


class Heard(NamedTuple):
    """A message, and the channel it came on."""

    channel: str
    data: bytes


class ChannelsMovedError(StoreError):
    """Raised inside the store when another server has become the one of a channel."""


class Link:
    """Channels of one server, on a connection of its own.

    Attributes:
        heard_s: When anything was heard last, by ``time.monotonic``.
    """

    def __init__(self, store: Store, channels: Collection[str], server: Server | None, subscriber: PubSub) -> None:
        self.heard_s = time.monotonic()
        self._store = store
        self._channels = frozenset(channels)
        self._server = server
        self._subscriber = subscriber
        self._is_asked = False

    async def next(self, timeout_s: float) -> Heard | None:
        """Return the next message, or ``None`` if none has come.

        Raises:
            ChannelsMovedError: If another server has one of the channels now.
            StoreUnavailableError: If the connection broke.
        """
        with translated(self._store.url):
            told = await self._subscriber.get_message(timeout=timeout_s)
        if told is None:
            return None
        self.heard_s, self._is_asked = time.monotonic(), False
        if told["type"] == "sunsubscribe":
            raise self._moved()
        return Heard(told["channel"].decode(), told["data"]) if told["type"] == "smessage" else None

    async def check(self) -> None:
        """Ask a silent server whether it lives and still has the channels; ``next`` hears that it lives.

        Raises:
            ChannelsMovedError: If another server has one of the channels now.
            StoreUnavailableError: If the server has not answered since it was asked before.
        """
        with translated(self._store.url):
            if self._is_asked:
                raise TimeoutError
            self._is_asked = True
            await self._subscriber.ping()
        if not self._channels <= (await owners(self._store, self._channels)).get(self._server, frozenset()):
            raise self._moved()

    async def subscribe(self, confirm_within_s: float) -> None:
        """Subscribe to the channels; then what is told from now on is heard."""
        try:
            with translated(self._store.url):
                for channels in _by_slot(self._channels).values():
                    await self._subscriber.ssubscribe(*channels)
                missing = len(self._channels)
                while missing:
                    told = await self._subscriber.get_message(timeout=confirm_within_s)
                    if told is None:
                        raise TimeoutError
                    # What comes before the last confirmation may be one of several, and is not to be relied on.
                    missing -= told["type"] == "ssubscribe"
        except StoreError as exc:
            if isinstance(exc.__cause__, MovedError):
                raise self._moved() from exc
            raise
        self.heard_s = time.monotonic()

    def _moved(self) -> ChannelsMovedError:
        return ChannelsMovedError(f"Redis at {self._store.url} has moved channels to another server")


@contextlib.asynccontextmanager
async def linked(
    store: Store, channels: Collection[str], server: Server | None, confirm_within_s: float
) -> AsyncIterator[Link]:
    """Open a link, subscribed to its channels.

    Args:
        store: Where the fleet is kept.
        channels: All of one server.
        server: Which one, on a Cluster; ``None`` elsewhere.
        confirm_within_s: How long the server may take for each channel, in seconds.

    Raises:
        ChannelsMovedError: If another server has one of the channels.
        StoreUnavailableError: If the server cannot be reached.
    """
    subscriber = store.pubsub(server)
    try:
        link = Link(store, channels, server, subscriber)
        with translated(store.url):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await link.subscribe(confirm_within_s)
        yield link
    finally:
        # What broke it has been told already.
        with contextlib.suppress(StoreError), translated(store.url):
            await subscriber.aclose()  # type: ignore[no-untyped-call]


async def owners(store: Store, channels: Collection[str]) -> Mapping[Server | None, frozenset[str]]:
    """Return which servers messages of channels come from: on a Cluster as one of its servers knows it.

    Raises:
        StoreUnavailableError: If no server tells, or none has one of the channels.
    """
    if not store.on_cluster:
        return {None: frozenset(channels)}
    ranges = await _slots(store)
    found: dict[Server | None, set[str]] = defaultdict(set)
    for slot, some in _by_slot(channels).items():
        server = next((server for low, high, server in ranges if low <= slot <= high), None)
        if server is None:
            raise StoreUnavailableError(f"no server of the Cluster at {store.url} has {min(some)}")
        found[server].update(some)
    return {server: frozenset(some) for server, some in found.items()}


async def _slots(store: Store) -> list[tuple[int, int, Server]]:
    """Return first and last slot of each range and who has it, asking servers in turn until one tells."""
    failed = StoreUnavailableError(f"no server of the Cluster at {store.url} is known")
    servers = list(store.redis.get_nodes())
    random.shuffle(servers)
    for server in servers:
        try:
            with translated(store.url):
                async with asyncio.timeout(ASK_WITHIN_S):
                    rows = await server.execute_command("CLUSTER SLOTS")
        except StoreUnavailableError as exc:
            failed = exc
        else:
            # A server that does not say how it is reached means: as it was.
            return [
                (low, high, (host.decode() if host else server.host, int(port)))
                for low, high, (host, port, *_), *_ in rows
            ]
    raise failed


def _by_slot(channels: Collection[str]) -> Mapping[int, list[str]]:
    """Return channels by slot: a Cluster takes those of one slot with one command."""
    found = defaultdict(list)
    for channel in channels:
        found[key_slot(channel.encode())].append(channel)
    return found

"""The way to Redis: open it, send commands, run scripts.

Everything goes through ``Store.do``, ``do_all`` and ``run``, where failures of the client become ``StoreError``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import NoScriptError

from espfleet.domain.migration import SCHEMA
from espfleet.errors import StoreError, StoreTooOldError, StoreUnavailableError
from espfleet.store import tables
from espfleet.store.clock import Clock, Offset
from espfleet.store.connections import Client, Line, connect, disconnect
from espfleet.store.faults import store_error, translated
from espfleet.store.keys import Keys
from espfleet.store.urls import Location, Server, Shape, parse_url

DEFAULT_SHARDS = 8
OLDEST_SERVER = (7, 0)
#: How long a command may take, in seconds.
ANSWER_WITHIN_S = 5.0
#: Longest wait of ``Store.wait``; the next one follows at once, so a longer wait would bring nothing.
MAX_BLOCK_MS = 2_000
#: How much longer than that a reply may take before its server counts as stalled, in seconds.
STALLED_AFTER_S = 5.0
#: Commands under way at once; more wait their turn, for a pool of connections that is used up fails at once.
_AT_ONCE = 32
_WAITING_AT_ONCE = 64
_SCRIPTS = Path(__file__).parent / "scripts"

Word = str | bytes | int | float
Command = tuple[Word, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script: its name, and the keys and arguments listed at the head of its file."""

    script: str
    keys: Sequence[str]
    args: Sequence[Word]


class Store:
    """An open fleet.

    Attributes:
        url: Where it is, without user and password.
        name: What the server knows this client by.
        keys: Names of its keys.
        shards: Number of shards of groups, and of partitions of devices.
        redis: The client itself, with bytes as replies; for tests. Its failures are not translated.
    """

    def __init__(self, location: Location, client: Client, name: str, keys: Keys, shards: int) -> None:
        self.url = location.label
        self.name = name
        self.keys = keys
        self.shards = shards
        self.redis: Any = client
        self._location = location
        self._line = Line(client)
        #: Clients whose replies may take long, of all servers, and of one server of a Cluster.
        self._waiting: dict[Server | None, Client] = {}
        self._clock = Clock()
        self._is_closed = False
        self._opening = asyncio.Lock()
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._waiting_turn = asyncio.Semaphore(_WAITING_AT_ONCE)

    def __repr__(self) -> str:
        return f"Store({self.url!r}, shards={self.shards})"

    @property
    def on_cluster(self) -> bool:
        """Whether keys with different tags may be on different servers."""
        return self._location.shape is Shape.CLUSTER

    async def do(self, *command: Word) -> Any:
        """Send one command and return its reply."""
        async with self._turn:
            with translated(self.url):
                return await self.redis.execute_command(*command)

    async def do_all(self, commands: Sequence[Command], *, atomic: bool = False) -> list[Any]:
        """Send commands together and return their replies.

        Args:
            commands: Each with its words.
            atomic: Run them with nothing in between; all keys must carry the same tag.
        """
        if not commands:
            return []
        if atomic and self.on_cluster:
            return await self._atomic_on_cluster(commands)
        async with self._turn:
            with translated(self.url):
                async with self.redis.pipeline(transaction=atomic) as pipeline:
                    for command in commands:
                        pipeline.execute_command(*command)
                    replies: list[Any] = await pipeline.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception):
                raise store_error(reply, self.url) from reply
        return replies

    async def _atomic_on_cluster(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands by a script: redis-py 8.1 plans a Cluster's transaction on another event loop, and hangs."""
        words: list[Word] = []
        for command in commands:
            words += [len(command), *command]
        replies = await self.run("atomic", [str(command[1]) for command in commands], words)
        return [
            # A script's reply lists names and values, where that of the command is a table.
            dict(zip(reply[::2], reply[1::2], strict=True)) if command[0] == "HGETALL" else reply
            for command, reply in zip(commands, replies, strict=True)
        ]

    async def run(self, script: str, keys: Sequence[str], args: Sequence[Word] = ()) -> Any:
        """Run ``scripts/<script>.lua`` and return its reply; the server learns it where it does not know it."""
        text, digest = _script(script)
        async with self._turn:
            with translated(self.url):
                try:
                    return await self._line.ask("EVALSHA", digest, len(keys), *keys, *args)
                except NoScriptError:
                    return await self.redis.execute_command("EVAL", text, len(keys), *keys, *args)

    async def run_all(self, calls: Sequence[Call]) -> list[Any]:
        """Run scripts side by side and return their replies; on a single server they are sent together."""
        if self.on_cluster or len(calls) < 2:
            return list(await asyncio.gather(*(self.run(call.script, call.keys, call.args) for call in calls)))
        async with self._turn:
            with translated(self.url):
                async with self.redis.pipeline(transaction=False) as pipeline:
                    for call in calls:
                        digest = _script(call.script)[1]
                        pipeline.execute_command("EVALSHA", digest, len(call.keys), *call.keys, *call.args)
                    replies: list[Any] = await pipeline.execute(raise_on_error=False)
        for index, reply in enumerate(replies):
            if isinstance(reply, NoScriptError):
                call = calls[index]
                replies[index] = await self.run(call.script, call.keys, call.args)
            elif isinstance(reply, Exception):
                raise store_error(reply, self.url) from reply
        return replies

    async def time_ms(self) -> int:
        """Ask for the server's time, and return it, in ms since the epoch."""
        asked_us = self.ticks_us()
        return self.told(asked_us, await self.do(*self._time()))

    def _time(self) -> Command:
        """Return the command that asks for the time, on a Cluster always of the same server: each has its own."""
        return ("EVAL", "return redis.call('TIME')", 1, self.keys.settings()) if self.on_cluster else ("TIME",)

    def now_ms(self) -> int:
        """Return the server's time, in ms since the epoch, without asking for it.

        It is known from opening, from each beat of a worker (``settle``) and from ``time_ms`` on.
        """
        return self._clock.now_ms()

    def now_s(self) -> float:
        """Return the same in seconds."""
        return self._clock.now_ms() / 1_000

    def offset(self) -> Offset:
        """Return how far that time is ahead of a clock that nobody sets, as it is known."""
        return self._clock.offset()

    def ticks_us(self) -> int:
        """Return when it is by a clock that nobody sets, for ``told``."""
        return self._clock.ticks_us()

    def told(self, asked_us: int, reply: Sequence[bytes | int]) -> int:
        """Go by a reply to ``TIME``, and return what it says, in ms since the epoch.

        Args:
            asked_us: ``ticks_us`` before it was asked for.
            reply: Seconds and microseconds.
        """
        return self._clock.told(asked_us, *reply)

    async def infos(self) -> list[Mapping[str, Any]]:
        """Return what each server that takes writes tells of itself, by the names of ``INFO``."""
        async with self._turn:
            with translated(self.url):
                if not self.on_cluster:
                    return [await self.redis.info()]
                return [await self.redis.info(target_nodes=[primary]) for primary in self.redis.get_primaries()]

    async def wait(self, *command: Word, within_s: float | None = None) -> Any:
        """Send a command that may wait up to ``MAX_BLOCK_MS`` for its reply, on connections for such commands.

        It is never sent twice. A wait that is cancelled or fails may have taken effect.

        Args:
            command: Its words.
            within_s: How long the reply may take, in seconds; without, as long as from a server that has not stalled.
        """
        async with self._waiting_turn:
            with translated(self.url):
                client = await self._waiting_client()
                async with asyncio.timeout(within_s):
                    return await client.execute_command(*command)

    def pubsub(self, server: Server | None = None) -> PubSub:
        """Return a subscriber on a connection of its own, on a Cluster to one of its servers.

        It connects with its first command; wrap its use in ``faults.translated``.
        """
        subscriber: PubSub = self._patient(server).pubsub()
        return subscriber

    async def _waiting_client(self) -> Any:
        client = self._patient()
        async with self._opening:
            # Commands that are the first to use a Cluster's client at the same time break one another's connections.
            await client.initialize()
        return client

    def _patient(self, server: Server | None = None) -> Any:
        if server not in self._waiting:
            if self._is_closed:
                raise StoreUnavailableError(f"the fleet at {self.url} has been closed")
            self._waiting[server] = connect(
                self._location.at(server) if server else self._location,
                self.name,
                retries=0,
                connect_within_s=ANSWER_WITHIN_S,
                answer_within_s=MAX_BLOCK_MS / 1_000 + STALLED_AFTER_S,
            )
        return self._waiting[server]

    async def aclose(self) -> None:
        """Close all connections; what is under way elsewhere fails, and what is asked later is refused."""
        self._is_closed = True
        await disconnect((*self._waiting.values(), self.redis))

    async def settle(self) -> Mapping[str, int]:
        """Write the fleet's settings unless they are there, and return them: ``schema`` and ``shards``.

        Long-running processes do this with every beat, so that a flushed server knows them again, and they its time.
        """
        key, asked_us = self.keys.settings(), self.ticks_us()
        *_, found, reply = await self.do_all(
            [
                ("HSETNX", key, "schema", SCHEMA),
                ("HSETNX", key, "shards", self.shards),
                ("HGETALL", key),
                self._time(),
            ]
        )
        self.told(asked_us, reply)
        return {name.decode(): int(value) for name, value in found.items()}


@asynccontextmanager
async def open_store(
    url: str,
    *,
    name: str,
    shards: int = DEFAULT_SHARDS,
    retries: int = 3,
    answer_within_s: float | None = None,
    open_within_s: float | None = None,
    keys: Keys | None = None,
) -> AsyncIterator[Store]:
    """Open a fleet; one that an older espfleet made is brought up to date first.

    Args:
        url: Where its Redis is; ``store/urls.py`` lists the forms.
        name: What the server shall know this client by, such as ``gateway-1``.
        shards: Number of shards of a fleet that is new; one that is there keeps its own.
        retries: How often a command is sent again over a broken connection. A command may then take effect twice.
        answer_within_s: How long a command may take, in seconds; usually 5.
        open_within_s: How long opening may take, in seconds, whatever is tried again; bringing an older fleet up to
            date does not count. Without, as long as that takes.
        keys: Names of the keys, if they are not the usual ones.

    Raises:
        SettingsError: If the URL has no known form.
        StoreUnavailableError: If the server cannot be reached.
        StoreLoginError: If it refuses the user or password.
        StoreTooOldError: If it is older than Redis 7.0.
        StoreError: If the fleet was made by a newer espfleet.
    """
    location = parse_url(url)
    if open_within_s and location.shape is Shape.CLUSTER:
        # The client asks its servers in turn: one that is silent must leave time for another.
        answer_within_s = answer_within_s or open_within_s / 2
    client = connect(
        location,
        _client_name(name),
        retries=retries,
        connect_within_s=ANSWER_WITHIN_S,
        answer_within_s=answer_within_s or ANSWER_WITHIN_S,
    )
    store = Store(location, client, _client_name(name), keys or Keys(db=location.db), shards)
    try:
        with translated(store.url):
            async with asyncio.timeout(open_within_s):
                await _check_server(store)
                settings = await store.settle()
        if settings["schema"] > SCHEMA:
            raise StoreError(
                f"the fleet at {store.url} was made by a newer espfleet (schema {settings['schema']}; this one knows "
                f"{SCHEMA}): update this one"
            )
        store.shards = settings["shards"]
        if settings["schema"] < SCHEMA:
            await tables.bring_up_to_date(store)
        yield store
    finally:
        await store.aclose()


async def _check_server(store: Store) -> None:
    with translated(store.url):
        told = await store.redis.info("server")
    # A Cluster answers for each of its servers.
    servers = list(told.values()) if store.on_cluster and "redis_version" not in told else [told]
    for server in servers:
        # Valkey tells the Redis version it is compatible with under this name, and its own under another.
        version = str(server.get("redis_version", "0"))
        if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST_SERVER:
            raise StoreTooOldError(
                f"Redis at {store.url} is version {version}; espfleet needs 7.0 or newer, or any Valkey"
            )


def _client_name(name: str) -> str:
    """Return ``name`` as the server takes it: printable and without spaces."""
    return "".join(char if "!" <= char <= "~" else "-" for char in f"espfleet-{name}")


@cache
def _script(name: str) -> tuple[str, str]:
    """Return text and digest of a script."""
    text = (_SCRIPTS / f"{name}.lua").read_text()
    # The server names scripts so; nothing depends on its strength.
    return text, sha1(text.encode(), usedforsecurity=False).hexdigest()

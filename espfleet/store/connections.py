"""Connections to Redis, with every limit set: the defaults of redis-py differ between its classes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from itertools import chain
from typing import Any
from weakref import WeakSet

from hiredis import pack_command
from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff
from redis.connection import HiredisRespSerializer
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError as NotConnectedError
from redis.maint_notifications import MaintNotificationsConfig

from espfleet.store.urls import Location, Shape

#: How long a Sentinel may take to tell which server is the one; there are others to ask.
SENTINEL_WITHIN_S = 1.0

Client = Redis | RedisCluster

_packer = HiredisRespSerializer()
#: Else each connection looks on the disk for the version of redis-py, a millisecond of CPU each time.
_driver = DriverInfo()


def connect(location: Location, name: str, *, retries: int, connect_within_s: float, answer_within_s: float) -> Client:
    """Return a client; it connects with its first command.

    Args:
        location: Where Redis is.
        name: What the server shall know the client by.
        retries: How often a command is sent again over a broken connection.
        connect_within_s: How long connecting may take, in seconds.
        answer_within_s: How long an answer may take, in seconds.
    """
    backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0) if retries else NoBackoff()
    options: dict[str, Any] = {
        **location.login,
        "client_name": name,
        "driver_info": _driver,
        "socket_timeout": answer_within_s,
        "socket_connect_timeout": connect_within_s,
        "retry": Retry(backoff, retries),
        # With these, which only Redis Enterprise sends, redis-py does not look whether a connection has been closed
        # meanwhile: after an outage each one would fail once.
        "maint_notifications_config": MaintNotificationsConfig(enabled=False),
    }
    if location.shape is Shape.SINGLE:
        return Redis.from_pool(_pool(location, options | {"db": location.db}))
    tls: dict[str, Any] = {"ssl": True, **location.tls_options} if location.tls else {}
    options |= tls
    if location.shape is Shape.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in location.hosts]
        return _Cluster(startup_nodes=nodes, **options)
    limits = {
        **location.sentinel_login,
        "driver_info": _driver,
        "socket_timeout": SENTINEL_WITHIN_S,
        "socket_connect_timeout": SENTINEL_WITHIN_S,
        "retry": Retry(NoBackoff(), 0),
        "maint_notifications_config": options["maint_notifications_config"],
    }
    sentinel = Sentinel([])  # type: ignore[no-untyped-call]
    sentinel.sentinels = [Redis.from_pool(_network_pool(location, host, port, limits)) for host, port in location.hosts]
    client: Redis = sentinel.master_for(
        location.service,
        connection_pool_class=_WatchedPool,
        connection_class=_WatchedTlsConnection if location.tls else _WatchedConnection,
        db=location.db,
        **options,
    )
    return client


def _pool(location: Location, options: dict[str, Any]) -> ConnectionPool:
    if location.path is not None:
        return _Pool(_SocketConnection, path=location.path, **options)
    return _network_pool(location, *location.hosts[0], options)


def _network_pool(location: Location, host: str, port: int, options: dict[str, Any]) -> ConnectionPool:
    kind = _TlsConnection if location.tls else _TcpConnection
    return _Pool(kind, host=host, port=port, **options, **location.tls_options)


class _Pool(ConnectionPool):
    """Leaves nothing open once it is closed.

    redis-py's own leaves those open that somebody connects while it is closed or later, for instance because a command
    under way is tried again, and those that it has not come to yet when closing is cancelled.
    """

    is_closed = False

    async def get_connection(self, *_: Any, **__: Any) -> Any:
        """Return a connection that nobody else has."""
        if self.is_closed:
            raise NotConnectedError("this client has been closed")
        return await super().get_connection()  # type: ignore[no-untyped-call]

    async def release(self, connection: AbstractConnection) -> None:
        """Take a connection back."""
        await super().release(connection)
        if self.is_closed:
            await connection.disconnect(nowait=True)

    async def aclose(self) -> None:
        """Close all connections, at once where this is cancelled."""
        self.is_closed = True
        try:
            await super().aclose()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Only somebody else was, who waited for the end of the same connection.
        finally:
            for connection in list(chain(self._available_connections, self._in_use_connections)):
                # This waits for nothing.
                await connection.disconnect(nowait=True)


class _WatchedPool(_Pool, SentinelConnectionPool):
    """The same for a server that Sentinels tell of."""


class _Sending(AbstractConnection):
    """Says so when it was closed just before it sends."""

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        # Somebody may have closed it in the step of the loop before.
        if self._writer is None:
            raise NotConnectedError("the connection was closed before the command was sent")
        await super()._send_packed_command(command)


class _WatchedConnection(_Sending, SentinelManagedConnection):
    """Speaks to no server but the primary.

    A Sentinel may tell of one that has just been replaced. It would refuse what is written, but answer with what was.
    """

    async def connect_to(self, address: tuple[str, int]) -> None:
        """Connect to the server that Sentinels tell of."""
        await super().connect_to(address)  # type: ignore[no-untyped-call]
        # Unlike ROLE, every user of ``users.acl`` may ask this.
        await self.send_command("INFO", "replication")
        told = await self.read_response()
        if b"role:master" not in told:
            await self.disconnect(nowait=True)
            raise NotConnectedError(f"the server at port {address[1]} is not the primary any more")


class _WatchedTlsConnection(_WatchedConnection, SentinelManagedSSLConnection):
    pass


class _Prompt(_Sending):
    """Sends without a task of its own, which costs as much as the sending; packs words in C, as blocking clients do.

    (redis-py's asyncio clients pack them in Python: 21 µs for a script with 24 words, against 4.)
    """

    def pack_command(self, *args: Any) -> list[bytes]:
        """Return a command as it is sent."""
        first = args[0]
        if isinstance(first, str) and " " not in first:
            try:
                return [pack_command(args)]
            except TypeError:
                # A kind of value that takes a closer look, or none that can be sent.
                pass
        packed: list[bytes] = _packer.pack(*args)
        return packed

    async def ask(self, packed: bytes) -> Any:
        """Send a packed command and return its reply."""
        if not self.is_connected:
            await self.connect()  # type: ignore[no-untyped-call]
        assert self._writer is not None
        try:
            async with asyncio.timeout(self.socket_timeout):
                self._writer.write(packed)
                await self._writer.drain()
        except BaseException:
            # Half of it may be sent.
            await self.disconnect(nowait=True)
            raise
        return await self.read_response()


class _TcpConnection(_Prompt, Connection):
    pass


class _TlsConnection(_Prompt, SSLConnection):
    pass


class _SocketConnection(_Prompt, UnixDomainSocketConnection):
    pass


class _Cluster(RedisCluster):
    """Leaves nothing open once it has been ended.

    redis-py's own closes itself each time it has to find out who has which slots, and opens itself again with the next
    command. What it was about to close stays open when closing is cancelled, and so does what somebody connects later.
    """

    def __init__(self, *, startup_nodes: list[ClusterNode], **options: Any) -> None:
        super().__init__(startup_nodes=startup_nodes, **options)
        self.is_ended = False
        #: Every connection of every server, also of those that it no longer knows.
        self.made: WeakSet[AbstractConnection] = WeakSet()
        kind = _ClusterTlsConnection if options.get("ssl") else _ClusterConnection
        # Servers that it finds later get theirs from the first of these.
        for settings in (self.connection_kwargs, *(node.connection_kwargs for node in self.startup_nodes)):
            settings["cluster"] = self
        self.connection_kwargs["connection_class"] = kind
        for node in self.startup_nodes:
            node.connection_class = kind

    async def end(self) -> None:
        """Close all connections for good, at once where this is cancelled."""
        self.is_ended = True
        try:
            await self.aclose()
        finally:
            for connection in list(self.made):
                # This waits for nothing.
                await connection.disconnect(nowait=True)


class _OfCluster(_Sending):
    """Connects only while its Cluster's client has not been ended."""

    def __init__(self, *, cluster: _Cluster, **options: Any) -> None:
        super().__init__(**options)
        self._cluster = cluster
        cluster.made.add(self)

    async def connect_check_health(self, *args: Any, **options: Any) -> None:
        """Connect, unless it is connected."""
        if not self._cluster.is_ended:
            await super().connect_check_health(*args, **options)
        if self._cluster.is_ended:
            await self.disconnect(nowait=True)
            raise NotConnectedError("this client has been closed")


class _ClusterConnection(_OfCluster, Connection):
    pass


class _ClusterTlsConnection(_OfCluster, SSLConnection):
    pass


class Line:
    """Sends commands whose replies are wanted as the server gives them: scripts.

    On one server it needs half the time of the client's own ``execute_command``, which packs words in Python, keeps
    figures that nobody reads, and gives its connection back each time. It connects and tries again as that does.

    Args:
        client: Whose server; its pool knows all connections, and closes them.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._pool = getattr(client, "connection_pool", None)
        #: As many as were ever needed at once.
        self._free: list[Any] = []

    async def ask(self, *words: str | bytes | int | float) -> Any:
        """Send one command and return its reply."""
        if self._pool is None or not issubclass(self._pool.connection_class, _Prompt):
            return await self._client.execute_command(*words)
        packed = pack_command(words)  # type: ignore[arg-type]
        may_use = self._free and not self._pool.is_closed
        connection = self._free.pop() if may_use else await self._pool.get_connection()
        try:
            # It may have been closed by the server since it was used last.
            await self._pool.ensure_connection(connection)
            return await connection.retry.call_with_retry(
                lambda: connection.ask(packed), lambda _: connection.disconnect()
            )
        finally:
            if self._pool.is_closed:
                await connection.disconnect(nowait=True)
            else:
                self._free.append(connection)


async def disconnect(clients: Iterable[Client]) -> None:
    """Close all connections of clients; where one cannot be closed, or this is cancelled, the others are."""
    async with contextlib.AsyncExitStack() as stack:
        for client in clients:
            stack.push_async_callback(client.end if isinstance(client, _Cluster) else client.aclose)
            pool = getattr(client, "connection_pool", None)
            if isinstance(pool, SentinelConnectionPool):
                # The connections to the Sentinels are others than those to the server they tell of.
                for sentinel in pool.sentinel_manager.sentinels:
                    stack.push_async_callback(sentinel.aclose)

"""Connections to Redis, with every limit set: the defaults of redis-py differ between its classes."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import ExponentialWithJitterBackoff, NoBackoff

from espfleet.store.urls import Location, Shape

#: How long a Sentinel may take to tell which server is the one; there are others to ask.
SENTINEL_WITHIN_S = 1.0

Client = Redis | RedisCluster


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
        "socket_timeout": answer_within_s,
        "socket_connect_timeout": connect_within_s,
        "retry": Retry(backoff, retries),
    }
    if location.shape is Shape.SINGLE:
        return Redis.from_pool(_pool(location, options | {"db": location.db}))
    if location.tls:
        options |= {"ssl": True, **location.tls_options}
    if location.shape is Shape.CLUSTER:
        nodes = [ClusterNode(host, port) for host, port in location.hosts]
        return RedisCluster(startup_nodes=nodes, **options)
    limits = {
        "socket_timeout": SENTINEL_WITHIN_S,
        "socket_connect_timeout": SENTINEL_WITHIN_S,
        "retry": Retry(NoBackoff(), 0),
    }
    sentinel = Sentinel(  # type: ignore[no-untyped-call]
        list(location.hosts), sentinel_kwargs={**location.sentinel_login, **limits}
    )
    client: Redis = sentinel.master_for(location.service, db=location.db, **options)
    return client


def _pool(location: Location, options: dict[str, Any]) -> ConnectionPool:
    if location.path is not None:
        return ConnectionPool(UnixDomainSocketConnection, path=location.path, **options)
    host, port = location.hosts[0]
    kind = SSLConnection if location.tls else Connection
    return ConnectionPool(kind, host=host, port=port, **options, **location.tls_options)


async def disconnect(client: Client) -> None:
    """Close all connections of a client."""
    await client.aclose()
    pool = getattr(client, "connection_pool", None)
    if isinstance(pool, SentinelConnectionPool):
        # The connections to the Sentinels are others than those to the server they tell of.
        for sentinel in pool.sentinel_manager.sentinels:
            await sentinel.aclose()

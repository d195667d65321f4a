"""Redis behind a Sentinel, or as a Cluster, whose primaries die or give their work to a replica."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from tests.chaos.clocks import Clock, forget
from tests.servers import Server, clients_of, cluster_of, free_ports, serving

WITHIN_S = 60.0
#: A replica that has not taken over by then does not do so by itself.
ELECTED_WITHIN_S = 15.0
#: A primary that no replica follows takes no writes, so that what it was told after its fall is not lost.
SAFE = ("--min-replicas-to-write", "1", "--min-replicas-max-lag", "2", "--repl-diskless-sync-delay", "0")
#: On a busy machine a server may be silent for longer than a test's Sentinel allows.
DOWN_AFTER_MS = 3_000


class Trio:
    """A primary with two replicas, and a Sentinel that watches over them.

    Attributes:
        clocks: That of each server.
    """

    def __init__(self, servers: list[Server], clocks: Sequence[Clock], sentinel: Redis) -> None:
        self.clocks = clocks
        self._servers = servers
        self._sentinel = sentinel

    async def until_in_sync(self) -> None:
        """Wait until both replicas have what the primary has."""
        await _until(self._in_sync)

    async def kill(self, random: Random) -> Callable[[], Any]:
        """Kill the primary; return what waits for another one, and starts this one again as its replica."""
        at = self._primary()
        victim = next(server for server in self._servers if server.port == at)
        victim.end()
        forget(victim.process.pid)

        async def mend() -> None:
            await _until(lambda: self._primary() != at)
            port = str(self._primary())
            again = await asyncio.to_thread(
                Server,
                *("--replicaof", "127.0.0.1", port, *SAFE),
                port=at,
                folder=victim.folder,
                environ=victim.environ,
            )
            self._servers[self._servers.index(victim)] = again

        return mend

    async def ask(self, random: Random) -> None:
        """Let the primary give its work to a replica, and wait until it has."""
        at = self._primary()
        self._sentinel.execute_command("SENTINEL", "FAILOVER", "fleet", "COORDINATED")
        await _until(lambda: self._primary() != at)

    def _primary(self) -> int:
        return int(self._sentinel.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "fleet")[1])

    def _in_sync(self) -> bool:
        at = self._primary()
        told = {server.port: _replication(server) for server in sorted(self._servers, key=lambda one: one.port != at)}
        primary = told.pop(at)
        # A replica that still reads everything anew has what was there before, but the primary counts it.
        follow = all(
            one["role"] == "slave"
            and one["master_port"] == at
            and one["master_link_status"] == "up"
            and one["slave_repl_offset"] >= primary["master_repl_offset"]
            for one in told.values()
        )
        found = self._sentinel.execute_command("SENTINEL", "REPLICAS", "fleet")
        up = sum(one[b"master-link-status"] == b"ok" and b"down" not in one[b"flags"] for one in found)
        return bool(primary["role"] == "master" and follow and up == 2)


class Six:
    """A Cluster of three primaries with a replica each.

    Attributes:
        clocks: That of each server.
    """

    def __init__(self, servers: list[Server], clocks: Sequence[Clock]) -> None:
        self.clocks = clocks
        self._servers = servers

    async def until_in_sync(self) -> None:
        """Wait until every primary has a replica that has what it has."""
        await _until(self._in_sync)

    async def kill(self, random: Random) -> Callable[[], Any]:
        """Kill a primary; return what waits for another one, and starts this one again as its replica."""
        victim = random.choice([server for server in self._servers if self._role(server) == "master"])
        victim.end()
        forget(victim.process.pid)
        others = [server for server in self._servers if server is not victim]

        async def mend() -> None:
            try:
                await _until(lambda: sum(self._role(server) == "master" for server in others) == 3, ELECTED_WITHIN_S)
            except TimeoutError:
                # A replica whose clock was set back waits with its next election till it is there again.
                (heir,) = [server for server in others if self._follows(server, victim)]
                with contextlib.closing(Redis(port=heir.port)) as client:
                    client.execute_command("CLUSTER FAILOVER TAKEOVER")
                await _until(lambda: sum(self._role(server) == "master" for server in others) == 3)
            await _until(lambda: all(self._works(server) for server in others))
            await asyncio.to_thread(victim.start)

        return mend

    async def ask(self, random: Random) -> None:
        """Let a replica take over from its primary, and wait until it has."""
        chosen = random.choice([server for server in self._servers if self._role(server) == "slave"])
        with contextlib.closing(Redis(port=chosen.port)) as client:
            client.execute_command("CLUSTER FAILOVER")
        await _until(lambda: self._role(chosen) == "master")

    def _role(self, server: Server) -> str:
        with contextlib.closing(Redis(port=server.port)) as client:
            return str(client.info("replication")["role"])

    def _follows(self, server: Server, primary: Server) -> bool:
        with contextlib.closing(Redis(port=server.port)) as client:
            return bool(client.info("replication").get("master_port") == primary.port)

    def _works(self, server: Server) -> bool:
        with contextlib.closing(Redis(port=server.port)) as client:
            return bool(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")

    def _in_sync(self) -> bool:
        roles = []
        for server in self._servers:
            with contextlib.closing(Redis(port=server.port)) as client:
                told = client.info("replication")
            roles.append(told["role"])
            if told.get("master_link_status", "up") != "up":
                return False
        return roles.count("master") == 3 and all(map(self._works, self._servers))


Servers = Trio | Six


@contextlib.contextmanager
def sentinel_trio(home: Path) -> Iterator[tuple[str, Trio]]:
    """Run a primary, two replicas and a Sentinel, with clocks in a folder; yield the Sentinel's URL and all of them."""
    first, *others, sentinel_port = free_ports(4)
    servers: list[Server] = []
    clocks = _clocks(home, 3)
    with contextlib.ExitStack() as stack:
        for port, clock in zip((first, *others), clocks, strict=True):
            follows = ("--replicaof", "127.0.0.1", str(first)) if servers else ()
            servers.append(stack.enter_context(serving(*follows, *SAFE, port=port, environ=clock.environ)))
        stack.callback(_end_all, servers)
        settings = servers[1].folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor fleet 127.0.0.1 {first} 1\n"
            f"sentinel down-after-milliseconds fleet {DOWN_AFTER_MS}\nsentinel failover-timeout fleet 5000\n"
        )
        stack.enter_context(serving(str(settings), "--sentinel", port=sentinel_port))
        asked = stack.enter_context(contextlib.closing(Redis(port=sentinel_port)))
        yield f"redis+sentinel://127.0.0.1:{sentinel_port}/fleet/0", Trio(servers, clocks, asked)


@contextlib.contextmanager
def cluster_six(home: Path) -> Iterator[tuple[str, Six]]:
    """Run a Cluster of six servers, with clocks in a folder; yield its URL and them."""
    clocks, servers = _clocks(home, 6), list[Server]()
    try:
        with cluster_of(3, 3, environs=[clock.environ for clock in clocks]) as servers:
            yield clients_of(servers), Six(servers, clocks)
    finally:
        _forget_all(servers)


def _clocks(home: Path, count: int) -> list[Clock]:
    return [Clock(home / f"clock-redis-{number}") for number in range(count)]


def _end_all(servers: list[Server]) -> None:
    """End those too that were started later in place of others."""
    for server in servers:
        server.end()
    _forget_all(servers)


def _forget_all(servers: list[Server]) -> None:
    for server in servers:
        forget(server.process.pid)


def _replication(server: Server) -> dict[str, Any]:
    with contextlib.closing(Redis(port=server.port)) as client:
        told: dict[str, Any] = client.info("replication")
    return told


async def _until(holds: Callable[[], bool], within_s: float = WITHIN_S) -> None:
    end_s = time.monotonic() + within_s
    while True:
        with contextlib.suppress(RedisError, OSError):
            if await asyncio.to_thread(holds):
                return
        if time.monotonic() > end_s:
            raise TimeoutError("the servers of the run did not find each other")
        await asyncio.sleep(0.1)

"""Servers of Redis that tests start, stop and arrange as they like: one, a Cluster, or behind Sentinels."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from redis import Redis

from espfleet.certificates.folder import Folder
from espfleet.store.binaries import find_server
from tests.conftest import TEST_FOLDER
from tests.ports import free_port

SLOTS = 16_384
#: How far above its port a server of a Cluster listens to the others.
CLUSTER_BUS = 10_000
READY_WITHIN_S = 30.0


class Server:
    """A server of one test: on a unix socket, or on a port of 127.0.0.1; in a new folder, or with the data of one.

    With certificates it speaks nothing but TLS on its port, to clients and to other servers.
    """

    def __init__(
        self,
        *options: str,
        program: str | None = None,
        port: int | None = None,
        folder: Path | None = None,
        tls: Folder | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self.environ = environ or {}
        self.folder = folder or Path(tempfile.mkdtemp(prefix="s", dir=TEST_FOLDER))
        self.port = port
        self.socket_path = self.folder / "redis.sock"
        self.url = f"unix://{self.socket_path}" if port is None else f"redis://127.0.0.1:{port}"
        self._has_socket = port is None or tls is not None
        where = ["--unixsocket", str(self.socket_path)] if self._has_socket else []
        where += ["--bind", "127.0.0.1"] if port is not None else []
        where += ["--port", "0", "--tls-port", str(port), *_files_of(tls)] if tls else ["--port", str(port or 0)]
        # The name of a file comes first, if there is one.
        self._command = [program or find_server(), *options, *where]
        self._command += ["--dir", str(self.folder), "--logfile", str(self.folder / "log"), "--save", ""]
        self.start()

    def client(self) -> Redis:
        """Return a client of this server, past TLS."""
        return Redis(unix_socket_path=str(self.socket_path)) if self._has_socket else Redis(port=self.port or 0)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **self.environ},
        )
        end = time.monotonic() + 10.0
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "log").read_text()[-500:]
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.005)

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        link = socket.socket(socket.AF_UNIX if self._has_socket else socket.AF_INET)
        with contextlib.suppress(OSError), link:
            link.settimeout(1.0)
            link.connect(str(self.socket_path) if self._has_socket else ("127.0.0.1", self.port))
            link.sendall(b"PING\r\n")
            return link.recv(100).startswith((b"+PONG", b"-NOAUTH", b"-DENIED"))
        return False


def _files_of(tls: Folder | None) -> list[str]:
    if tls is None:
        return []
    server = str(tls.server)
    options = {"tls-cert-file": server, "tls-key-file": server, "tls-ca-cert-file": str(tls.bundle)}
    options |= {"tls-auth-clients": "no", "tls-replication": "yes", "tls-cluster": "yes"}
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@contextlib.contextmanager
def serving(
    *options: str,
    program: str | None = None,
    port: int | None = None,
    folder: Path | None = None,
    tls: Folder | None = None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Start a server; end it and remove its files afterwards."""
    server = Server(*options, program=program, port=port, folder=folder, tls=tls, environ=environ)
    try:
        yield server
    finally:
        server.end()
        _remove(server.folder)


def _remove(folder: Path) -> None:
    """Remove the files of a server that was killed: a child that writes its log anew may need a moment to notice."""
    end = time.monotonic() + 10.0
    while folder.exists():
        try:
            shutil.rmtree(folder)
        except OSError:
            assert time.monotonic() < end, f"somebody still writes to {folder}"
            time.sleep(0.01)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody has, nor the second ones of a Cluster's servers, 10,000 above."""
    return [free_port(second_above=CLUSTER_BUS) for _ in range(count)]


@contextlib.contextmanager
def clustered(primaries: int, replicas: int = 0) -> Iterator[str]:
    """Run a Cluster as ``cluster_of`` does; yield its URL."""
    with cluster_of(primaries, replicas) as servers:
        yield clients_of(servers)


def clients_of(servers: Sequence[Server], tls: Folder | None = None) -> str:
    """Return the URL of a Cluster for its clients."""
    hosts = ",".join(f"127.0.0.1:{server.port}" for server in servers)
    return f"rediss+cluster://{hosts}?ssl_ca_certs={tls.bundle}" if tls else f"redis+cluster://{hosts}"


@contextlib.contextmanager
def cluster_of(
    primaries: int,
    replicas: int = 0,
    program: str | None = None,
    tls: Folder | None = None,
    environs: Sequence[Mapping[str, str]] = (),
) -> Iterator[list[Server]]:
    """Run a Cluster, each primary with an equal share of the slots; yield its servers, the primaries first.

    Args:
        primaries: How many servers share the slots.
        replicas: How many more there are, given to the primaries in turn.
        program: What the servers run, if not the embedded server's program.
        tls: Their certificates, if they are to speak nothing but TLS.
        environs: Of each server, what its process finds besides what all do.
    """
    count = primaries + replicas
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", "--appendonly", "no")
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(serving(*options, program=program, port=port, tls=tls, environ=environ))
            for port, environ in zip_longest(free_ports(count), environs)
        ]
        clients = [stack.enter_context(contextlib.closing(server.client())) for server in servers]
        for number, client in enumerate(clients):
            if number < primaries:
                # Before the first word with another: what is heard of slots is believed.
                low, high = SLOTS * number // primaries, SLOTS * (number + 1) // primaries - 1
                client.execute_command("CLUSTER", "ADDSLOTSRANGE", low, high)
                client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for client in clients[1:]:
            client.execute_command("CLUSTER", "MEET", "127.0.0.1", servers[0].port)
        _wait(lambda: all(_knows(client, count) for client in clients))
        for number, client in enumerate(clients[primaries:]):
            name = clients[number % primaries].execute_command("CLUSTER MYID")
            client.execute_command("CLUSTER", "REPLICATE", name)
        _wait(lambda: all(_is_ready(client, count) for client in clients))
        _wait(lambda: all(client.info("replication")["master_link_status"] == "up" for client in clients[primaries:]))
        yield servers


def _knows(client: Redis, count: int) -> bool:
    return int(client.execute_command("CLUSTER INFO")["cluster_known_nodes"]) == count


def _is_ready(client: Redis, count: int) -> bool:
    return _knows(client, count) and client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


@contextlib.contextmanager
def watched(program: str | None = None, tls: Folder | None = None) -> Iterator[tuple[str, Server]]:
    """Run a server with a replica, and a Sentinel that watches over them; yield the Sentinel's URL, and the server.

    Args:
        program: What they run, if not the embedded server's program.
        tls: Their certificates, if they are to speak nothing but TLS.
    """
    first_port, second_port, sentinel_port = free_ports(3)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(serving(program=program, port=first_port, tls=tls))
        replica_of = ("--replicaof", "127.0.0.1", str(first_port))
        second = stack.enter_context(serving(*replica_of, program=program, port=second_port, tls=tls))
        settings = second.folder / "sentinel.conf"
        settings.write_text(
            f"sentinel monitor fleet 127.0.0.1 {first_port} 1\n"
            "sentinel down-after-milliseconds fleet 400\nsentinel failover-timeout fleet 2000\n"
        )
        sentinel = stack.enter_context(
            serving(str(settings), "--sentinel", program=program, port=sentinel_port, tls=tls)
        )
        with contextlib.closing(sentinel.client()) as asked:
            # It learns of replicas by asking the server every now and then.
            _wait(lambda: any(map(_is_up, asked.execute_command("SENTINEL REPLICAS", "fleet"))))
        where = f"+sentinel://127.0.0.1:{sentinel_port}/fleet/0"
        yield f"rediss{where}?ssl_ca_certs={tls.bundle}" if tls else f"redis{where}", first


def _is_up(replica: dict[bytes, bytes]) -> bool:
    return replica[b"master-link-status"] == b"ok"


def _wait(ready: Callable[[], Any]) -> None:
    end = time.monotonic() + READY_WITHIN_S
    while not ready():
        assert time.monotonic() < end, "the servers did not find each other"
        time.sleep(0.02)

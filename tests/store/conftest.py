"""Servers that tests of the store may kill, stop, and set up as they like."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from espfleet.store.binaries import find_server
from espfleet.store.client import Store
from espfleet.store.embedded import embedded_server, revive
from tests.conftest import TEST_FOLDER, check_lifetimes, emptied_store

DEBIAN_SERVER = "redis-server"


class Server:
    """A server of one test: on a unix socket, or on a port of 127.0.0.1; in a new folder, or with the data of one."""

    def __init__(
        self, *options: str, program: str | None = None, port: int | None = None, folder: Path | None = None
    ) -> None:
        self.folder = folder or Path(tempfile.mkdtemp(prefix="s", dir=TEST_FOLDER))
        self.port = port
        self.socket_path = self.folder / "redis.sock"
        self.url = f"unix://{self.socket_path}" if port is None else f"redis://127.0.0.1:{port}"
        where = ["--unixsocket", str(self.socket_path)] if port is None else ["--bind", "127.0.0.1"]
        self._command = [program or find_server(), *options, "--port", str(port or 0), *where]
        self._command += ["--dir", str(self.folder), "--logfile", str(self.folder / "log"), "--save", ""]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
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
        link = socket.socket(socket.AF_UNIX if self.port is None else socket.AF_INET)
        with contextlib.suppress(OSError), link:
            link.settimeout(1.0)
            link.connect(str(self.socket_path) if self.port is None else ("127.0.0.1", self.port))
            link.sendall(b"PING\r\n")
            return link.recv(100).startswith((b"+PONG", b"-NOAUTH", b"-DENIED"))
        return False


@contextlib.contextmanager
def serving(
    *options: str, program: str | None = None, port: int | None = None, folder: Path | None = None
) -> Iterator[Server]:
    """Start a server; end it and remove its files afterwards."""
    server = Server(*options, program=program, port=port, folder=folder)
    try:
        yield server
    finally:
        server.end()
        shutil.rmtree(server.folder)


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on, low enough for a Cluster's second port 10,000 above."""
    found: list[int] = []
    candidate = 20_000 + os.getpid() % 20_000
    while len(found) < count:
        candidate += 1
        with socket.socket() as one, socket.socket() as two, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", candidate))
            two.bind(("127.0.0.1", candidate + 10_000))
            found.append(candidate)
    return found


@pytest.fixture(scope="session")
def debian_url() -> Iterator[str]:
    """URL of a Redis 7.0 as Debian 12 has it: the oldest server that is good enough."""
    with serving(program=shutil.which(DEBIAN_SERVER)) as server:
        yield server.url


@pytest.fixture(params=["embedded", pytest.param(DEBIAN_SERVER, marks=pytest.mark.package(DEBIAN_SERVER))])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[Store]:
    """Return an empty fleet, on each kind of server in turn."""
    url = request.getfixturevalue("redis_url" if request.param == "embedded" else "debian_url")
    async with emptied_store(url) as opened:
        yield opened
        await check_lifetimes(opened)


class Embedded:
    """An embedded server of one test."""

    def __init__(self, data: Path, url: str) -> None:
        self.data = data
        self.url = url

    @property
    def pid(self) -> int:
        return int((self.data / "redis.pid").read_text())

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def end(self) -> None:
        os.kill(self.pid, signal.SIGTERM)

    def revive(self) -> None:
        assert revive(self.data) == self.url

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)


@pytest.fixture
def data() -> Iterator[Path]:
    """Path of a data folder that does not exist yet."""
    folder = Path(tempfile.mkdtemp(prefix="d", dir=TEST_FOLDER))
    yield folder / "data"
    shutil.rmtree(folder)


@pytest.fixture
def embedded(data: Path) -> Iterator[Embedded]:
    """Start an embedded server that the test may kill and stop."""
    with embedded_server(data) as url:
        yield Embedded(data, url)

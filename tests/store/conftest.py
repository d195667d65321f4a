"""Servers that tests of the store may kill, stop, and set up as they like."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from espfleet.store.client import Store
from espfleet.store.embedded import embedded_server, revive
from tests.conftest import TEST_FOLDER, check_lifetimes, emptied_store, wait_until
from tests.servers import serving

DEBIAN_SERVER = "redis-server"


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


async def all_noticed(store: Store) -> None:
    """Wait until a fleet, whose connections were all cut elsewhere, has noticed that on each of them."""
    pool = store.redis.connection_pool

    def noticed() -> bool:
        known = itertools.chain(pool._available_connections, pool._in_use_connections)
        return all(not one.is_connected or one._reader.at_eof() for one in known)

    await wait_until(noticed, what="the client notices that its connections were cut")


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

"""Pictures on their way to Redis: the newest of each camera, whatever becomes of Redis; the rest is counted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from espfleet.domain.video import Arrival
from espfleet.errors import StoreUnavailableError
from espfleet.gateway import pictures as waiting
from espfleet.gateway.pictures import Pictures
from espfleet.store.client import Store
from tests.conftest import wait_until


class Writes:
    """Stands for Redis: what was written, and whether it is away or slow."""

    def __init__(self) -> None:
        self.done: list[tuple[str, bytes, int]] = []
        self.tried = 0
        self.away = False
        self.open = asyncio.Event()
        self.open.set()

    async def put(self, _: Store, device_id: str, data: bytes, arrival: Arrival, dropped: int) -> None:
        self.tried += 1
        await self.open.wait()
        if self.away:
            raise StoreUnavailableError("away")
        assert arrival.size_bytes == len(data)
        self.done.append((device_id, data, dropped))


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    found = Writes()
    monkeypatch.setattr("espfleet.gateway.pictures.pictures.put", found.put)
    monkeypatch.setattr(waiting, "RETRY_S", 0.05)
    return found


@asynccontextmanager
async def writing(store: Store) -> AsyncIterator[Pictures]:
    pictures = Pictures(store)
    running = asyncio.create_task(pictures.run())
    try:
        yield pictures
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_while_one_is_written_only_the_newest_waits(store: Store, writes: Writes) -> None:
    writes.open.clear()
    async with writing(store) as pictures:
        pictures.take("a", b"0")
        await wait_until(lambda: writes.tried == 1)
        for number in range(1, 10):
            pictures.take("a", b"%d" % number)
        pictures.take("b", b"other")
        writes.open.set()
        await wait_until(lambda: len(writes.done) == 3)
    assert sorted(writes.done) == [("a", b"0", 0), ("a", b"9", 8), ("b", b"other", 0)]


async def test_while_redis_is_away_the_newest_is_kept_and_then_written(store: Store, writes: Writes) -> None:
    writes.away = True
    async with writing(store) as pictures:
        pictures.take("a", b"0")
        await wait_until(lambda: writes.tried >= 2)
        pictures.take("a", b"1")
        await wait_until(lambda: writes.tried >= 5)
        assert writes.done == []
        writes.away = False
        await wait_until(lambda: writes.done)
    assert writes.done == [("a", b"1", 1)]

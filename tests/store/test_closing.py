"""However and whenever a fleet is closed, no connection stays open: neither here nor on the server."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.store.client import Store, open_store
from espfleet.store.feed import Feed, Topic
from espfleet.store.link import linked, owners
from tests.conftest import wait_until

NAME = "brief"
#: In so many steps of the loop everything that ``work`` does has been done several times.
STEPS = range(0, 150, 5)


async def work(store: Store) -> None:
    """Use every kind of connection, again and again."""
    async with Feed(store, Topic) as feed:
        hearing = asyncio.ensure_future(anext(aiter(feed)))
        try:
            while True:
                await store.do("PING")
                await store.do_all([("PING",), ("PING",)])
                await store.run("atomic", ("a",), (2, "ECHO", "x"))
                await store.wait("BLPOP", "nothing", 0.01)
                (server,) = await owners(store, ["channel"])
                async with linked(store, ["channel"], server, 1.0) as link:
                    await link.next(0.001)
        finally:
            hearing.cancel()
            await asyncio.gather(hearing, return_exceptions=True)


@asynccontextmanager
async def nothing_left(watcher: Store, what: str) -> AsyncIterator[None]:
    """Fail if afterwards a connection is open on the server, or was forgotten here."""

    async def none_open() -> bool:
        return all(client["name"] != f"espfleet-{NAME}" for client in await watcher.redis.client_list())

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield
        gc.collect(1)
    forgotten = [str(warning.message) for warning in told if "unclosed" in str(warning.message)]
    assert not forgotten, f"{what}: {forgotten}"
    await wait_until(none_open, what=what)


async def steps(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@pytest.mark.parametrize("again_after", [None, 0, 1, 2, 3, 4])
async def test_one_that_is_cancelled_in_any_moment_and_once_more_while_it_closes(
    store: Store, redis_url: str, again_after: int | None
) -> None:
    async def user() -> None:
        async with open_store(redis_url, name=NAME) as used:
            await work(used)

    for count in STEPS:
        async with nothing_left(store, f"cancelled after {count} steps, and again after {again_after}"):
            running = asyncio.create_task(user())
            await steps(count)
            running.cancel()
            if again_after is not None:
                await steps(again_after)
                running.cancel()
            with suppress(asyncio.CancelledError):
                await running
            del running


@pytest.mark.parametrize("cancelled_after", [0, 1, 50])
async def test_one_that_is_closed_while_others_use_it(store: Store, redis_url: str, cancelled_after: int) -> None:
    for count in STEPS:
        async with nothing_left(store, f"closed after {count} steps"):
            async with open_store(redis_url, name=NAME) as used:
                running = asyncio.create_task(work(used))
                await steps(count)
            await steps(cancelled_after)
            running.cancel()
            with suppress(asyncio.CancelledError, StoreError):
                await running
            del running


@pytest.mark.single
async def test_whoever_closes_it_is_not_cancelled_with_somebody_who_waits_for_the_same_end(
    store: Store, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cancelled(**_: bool) -> None:
        # As asyncio does to everybody who waits for a connection to end when one of them is cancelled.
        monkeypatch.undo()
        raise asyncio.CancelledError

    async with (
        nothing_left(store, "closed while somebody else is cancelled"),
        open_store(redis_url, name=NAME) as used,
    ):
        await used.do("PING")
        (connection,) = used.redis.connection_pool._available_connections
        monkeypatch.setattr(connection, "disconnect", cancelled)


async def test_what_is_asked_of_a_closed_one_is_refused_and_connects_nowhere(store: Store, redis_url: str) -> None:
    async with nothing_left(store, "used after it was closed"):
        async with open_store(redis_url, name=NAME) as used:
            await used.do("PING")
        for asked in (used.do("PING"), used.run("atomic", ("a",), (1, "PING")), used.wait("BLPOP", "nothing", 0.01)):
            with pytest.raises(StoreUnavailableError, match="closed"):
                await asked

"""Opening a fleet, and what goes wrong on the way to Redis."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from espfleet.domain import migration
from espfleet.errors import StoreError, StoreLoginError, StoreTooOldError, StoreUnavailableError
from espfleet.store import client
from espfleet.store.client import Call, Store, open_store
from tests.conftest import wait_until
from tests.servers import free_ports, serving
from tests.store.conftest import all_noticed


async def refusal(url: str) -> StoreError:
    """Return why a fleet cannot be opened; the text is one sentence, and shows no secret anywhere."""
    with pytest.raises(StoreError) as told:
        async with open_store(url, name="test", retries=0):
            pass
    assert "secret" not in "".join(traceback.format_exception(told.value))
    assert "\n" not in str(told.value)
    return told.value


# --- opening


async def test_the_first_opener_decides_the_number_of_shards(store: Store, redis_url: str) -> None:
    await store.redis.flushall()
    async with open_store(redis_url, name="first", shards=3) as first:
        assert first.shards == 3
        async with open_store(redis_url, name="second", shards=16) as second:
            assert second.shards == 3


async def test_a_fleet_of_a_newer_espfleet_is_refused(store: Store) -> None:
    await store.redis.hset(store.keys.settings(), "schema", migration.SCHEMA + 1)
    with pytest.raises(StoreError, match=r"was made by a newer espfleet \(schema 2; this one knows 1\): update"):
        async with open_store(store.url, name="test"):
            pass


async def test_the_server_knows_its_clients_by_name(store: Store) -> None:
    async with open_store(store.url, name="gateway 1\n") as named:
        assert await named.redis.client_getname() == "espfleet-gateway-1-"


async def test_the_time_is_the_servers(store: Store) -> None:
    seconds, _ = await store.redis.time()
    assert abs(await store.time_ms() - seconds * 1_000) < 2_000


@pytest.mark.single
async def test_no_connection_stays_open(store: Store) -> None:
    async def names() -> set[str]:
        return {known["name"] for known in await store.redis.client_list()}

    async with open_store(store.url, name="guest") as guest:
        await guest.wait("BLPOP", "nothing", 0.01)
        await guest.run("lock", ("free",), ("leave", "nobody:1", 0))
        assert "espfleet-guest" in await names()

    async def are_gone() -> bool:
        return "espfleet-guest" not in await names()

    await wait_until(are_gone)


# --- commands and scripts


@pytest.mark.single
async def test_a_script_runs_on_a_new_connection_where_the_server_closed_the_old_one(store: Store) -> None:
    """Also for one who does not try anything twice."""
    async with open_store(store.url, name="once", retries=0) as once:
        for _ in range(2):
            assert await once.run("lock", ("free",), ("leave", "nobody:1", 0)) == [0, 0]
            assert await store.redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            await all_noticed(once)


@pytest.mark.single
async def test_more_at_once_than_there_are_connections(store: Store) -> None:
    assert await asyncio.gather(*(store.do("ECHO", number) for number in range(500))) == [
        str(number).encode() for number in range(500)
    ]


@pytest.mark.single
async def test_more_wait_at_once_than_there_are_connections(store: Store) -> None:
    answers = await asyncio.gather(*(store.wait("BLPOP", f"list-{number}", 0.01) for number in range(300)))
    assert answers == [None] * 300


async def test_scripts_come_back_when_the_server_forgot_them(store: Store) -> None:
    keys = [store.keys.owner("lead:test"), store.keys.fence("lead:test")]
    first = await store.run("take_lease", keys, ["ann", 1_000])
    await store.redis.script_flush()
    assert await store.run("take_lease", keys, ["ann", 1_000]) == first
    await store.redis.script_flush()
    call = Call("take_lease", keys, ["ann", 1_000])
    assert await store.run_all([call, call]) == [first, first]
    await store.redis.delete(*keys)


@pytest.mark.single
async def test_a_refused_command_is_told_in_our_words(store: Store) -> None:
    await store.redis.set("word", "a", px=1_000)
    wrong = [("INCR", "word"), ("ECHO", "secret")]
    for attempt in (store.do("INCR", "word"), store.do_all(wrong), store.do_all(wrong, atomic=True)):
        with pytest.raises(StoreError, match=r"refuses a command: .*not an integer") as told:
            await attempt
        assert "secret" not in str(told.value)
    with pytest.raises(StoreError) as told:
        await store.do_all([("INCR", "secret", "secret")], atomic=True)
    assert "secret" not in str(told.value)
    keys = ["word", "word", "word"]
    with pytest.raises(StoreError, match="refuses a command"):
        await store.run_all([Call("came", keys, ["id", 1, "gateway", "g", "watchdog_ms", 1])] * 2)


@pytest.mark.single
async def test_what_somebody_must_see_to_counts_as_unavailable(store: Store) -> None:
    before = (await store.redis.config_get("maxmemory"))["maxmemory"]
    await store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailableError, match=r"cannot work now: .*memory"):
            await store.do("SET", "a", "b", "PX", 1_000)
    finally:
        await store.redis.config_set("maxmemory", before)


async def test_settings_are_written_again_after_a_flush(store: Store) -> None:
    await store.redis.flushall()
    assert await store.settle() == {"schema": migration.SCHEMA, "shards": 8}
    assert await store.redis.hgetall(store.keys.settings()) == {b"schema": b"1", b"shards": b"8"}


# --- no server, no entrance


async def test_nobody_is_there() -> None:
    [port] = free_ports(1)
    told = await refusal(f"redis://:secret@127.0.0.1:{port}")
    assert isinstance(told, StoreUnavailableError)
    assert str(told) == f"Redis at redis://127.0.0.1:{port} does not answer: connection refused"


async def test_no_such_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    told = await refusal("redis://redis.example")
    assert isinstance(told, StoreUnavailableError)
    assert str(told) == "Redis at redis://redis.example does not answer: its host name is not known"


async def test_no_socket_is_there() -> None:
    told = await refusal("unix:///nowhere/redis.sock")
    assert isinstance(told, StoreUnavailableError)
    assert str(told) == "Redis at unix:///nowhere/redis.sock does not answer: no such file or directory"


async def test_a_server_that_keeps_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "ANSWER_WITHIN_S", 0.2)
    async with peer(b"") as port:
        told = await refusal(f"redis://127.0.0.1:{port}")
    assert isinstance(told, StoreUnavailableError)
    assert str(told) == f"Redis at redis://127.0.0.1:{port} does not answer: no answer in time"


async def test_something_that_is_no_redis() -> None:
    async with peer(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        told = await refusal(f"redis://127.0.0.1:{port}")
    assert isinstance(told, StoreUnavailableError)


async def test_a_server_with_a_password() -> None:
    [port] = free_ports(1)
    with serving("--requirepass", "secret", port=port) as server:
        for login in ("", ":secret2@", "ann:secret@"):
            told = await refusal(server.url.replace("//", f"//{login}"))
            assert isinstance(told, StoreLoginError)
            assert str(told) == f"Redis at {server.url} refuses the login: give its user and password in REDIS_URL"
        async with open_store(server.url.replace("//", "//:secret@"), name="test") as opened:
            assert "secret" not in f"{opened!r} {opened.redis!r} {opened.redis.connection_pool!r} {vars(opened)!r}"
            assert opened.url == server.url


async def test_a_user_who_may_not_do_enough() -> None:
    [port] = free_ports(1)
    with serving(*("--user", "ann", "on", ">secret", "~*", "+ping"), port=port) as server:
        told = await refusal(server.url.replace("//", "//ann:secret@"))
    assert isinstance(told, StoreLoginError)
    assert str(told) == f"Redis at {server.url} does not allow this user what espfleet needs: all commands"


async def test_a_server_that_is_too_old() -> None:
    about = b"# Server\r\nredis_version:6.2.14\r\n"
    async with peer(b"$%d\r\n%b\r\n" % (len(about), about), b"+OK\r\n") as port:
        told = await refusal(f"redis://127.0.0.1:{port}")
    assert isinstance(told, StoreTooOldError)
    assert str(told) == (
        f"Redis at redis://127.0.0.1:{port} is version 6.2.14; espfleet needs 7.0 or newer, or any Valkey"
    )


@asynccontextmanager
async def peer(to_info: bytes, to_others: bytes = b"") -> AsyncIterator[int]:
    """Serve on a port: answer INFO with one thing and everything else with another, or nothing at all."""

    over: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        over.add(task)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while head := await reader.readline():
                words = []
                for _ in range(int(head[1:])):
                    size = await reader.readline()
                    words.append((await reader.readexactly(int(size[1:]) + 2))[:-2])
                # HELLO is unknown to servers older than 6, which is how a client learns to do without.
                writer.write(to_info if words[0] == b"INFO" else to_others or to_info)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
        # Those who asked have gone, which is heard here later.
        await asyncio.wait_for(asyncio.gather(*over), 30)

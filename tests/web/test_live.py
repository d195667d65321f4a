"""What happens reaches everybody who looks, once and in order; whoever is slow is cut, whoever comes back goes on."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.services import groups, tokens
from espfleet.store import events, levels, presence, readings
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.web import live as live_module
from espfleet.web.live import KEPT, Live
from tests.conftest import wait_until
from tests.web.serving import Web

NOW_MS = 1_750_000_000_000


def parse(chunk: bytes) -> list[tuple[str, str, dict[str, object]]]:
    """Return id, kind and data of each message."""
    found = []
    for block in chunk.decode().strip().split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


@asynccontextmanager
async def running(live: Live) -> AsyncIterator[None]:
    task = asyncio.create_task(live.run())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def test_a_reader_goes_on_where_it_was() -> None:
    live = Live(None, lambda: NOW_MS)  # type: ignore[arg-type]
    for number in range(5):
        live.tell("event", {"number": number})
    feed = live.read(f"{live.epoch}-3")
    assert parse(await anext(feed))[0][2] == {"epoch": live.epoch, "resumed": True}
    assert [data["number"] for _, _, data in parse(await anext(feed))] == [3, 4]
    await feed.aclose()


@pytest.mark.parametrize("last_id", ["", "other-3", "x", "-", "{epoch}-99", "{epoch}--1", "{epoch}-²"])
async def test_a_reader_that_cannot_go_on_is_told_to_begin_anew(last_id: str) -> None:
    live = Live(None, lambda: NOW_MS)  # type: ignore[arg-type]
    live.tell("event", {})
    feed = live.read(last_id.format(epoch=live.epoch))
    assert parse(await anext(feed))[0][2]["resumed"] is False
    await feed.aclose()


async def test_a_reader_that_falls_behind_is_cut() -> None:
    live = Live(None, lambda: NOW_MS)  # type: ignore[arg-type]
    feed = live.read()
    await anext(feed)
    for number in range(KEPT + 1):
        live.tell("event", {"number": number})
    with pytest.raises(StopAsyncIteration):
        await anext(feed)
    assert (live.cut, live.readers) == (1, 0)


async def test_what_is_kept_for_those_who_come_back_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "KEPT_BYTES", 1_000)
    live = Live(None, lambda: NOW_MS)  # type: ignore[arg-type]
    for _ in range(20):
        live.tell("readings", {"text": "x" * 100})
    feed = live.read(f"{live.epoch}-1")
    assert parse(await anext(feed))[0][2]["resumed"] is False
    await feed.aclose()
    feed = live.read(f"{live.epoch}-15")
    assert parse(await anext(feed))[0][2]["resumed"] is True
    assert len(parse(await anext(feed))) == 5
    await feed.aclose()


async def test_a_reader_hears_only_the_kinds_it_wants_and_beats() -> None:
    live = Live(None, lambda: NOW_MS)  # type: ignore[arg-type]
    for kind in ("levels", "readings", "beat"):
        live.tell(kind, {})
    feed = live.read(f"{live.epoch}-0", ["levels"])
    await anext(feed)
    assert [kind for _, kind, _ in parse(await anext(feed))] == ["levels", "beat"]
    await feed.aclose()


async def publish(store: Store, group: str, level: int) -> None:
    shard = shard_of(group, store.shards)
    lease = await Lease.take(store, f"s{shard}", "test", 5_000)
    assert lease is not None
    changed = GroupLevel(group=group, level=level, state=State.OK, at_ms=NOW_MS, reason="router")
    await levels.publish(store, shard, lease.fence, [changed], NOW_MS)


async def collect(live: Live, into: list[tuple[str, str, dict[str, object]]], *kinds: str) -> None:
    async for chunk in live.read(kinds=kinds):
        into.extend(parse(chunk))


async def test_levels_and_events_are_told(store: Store) -> None:
    await groups.add(store, name="internet")
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []
    async with running(live):
        reader = asyncio.create_task(collect(live, heard))
        # At first nobody has published anything, and that is told too.
        await wait_until(lambda: any(kind == "levels" for _, kind, _ in heard))
        await wait_until(lambda: live.registry)
        await publish(store, "internet", 73)
        await events.add(store, "presence", {"device": "3c71bff93720", "presence": "offline"})
        await wait_until(lambda: any(kind == "presence" for _, kind, _ in heard))
        await wait_until(lambda: "73" in str([data for _, kind, data in heard if kind == "levels"]))
    await reader
    told = [data["levels"] for _, kind, data in heard if kind == "levels"]
    assert told[0]["internet"]["state"] == "unknown"  # type: ignore[index]
    assert told[-1]["internet"]["band"] == "orange"  # type: ignore[index]
    ids = [int(name.split("-")[1]) for name, _, _ in heard]
    assert ids == sorted(ids)


async def test_who_looks_begins_anew_when_the_server_may_have_missed_something(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Beyond this test.
    monkeypatch.setattr(presence, "GRACE_S", 600.0)
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []
    async with running(live):
        reader = asyncio.create_task(collect(live, heard, "presence"))
        await wait_until(lambda: live.registry)
        await wait_until(lambda: [data["resumed"] for _, kind, data in heard if kind == "hello"] == [False, False])
        before = live.registry
        await store.do("CLIENT", "KILL", "TYPE", "pubsub")
        await wait_until(lambda: live.registry > before)
        await events.add(store, "presence", {"device": "3c71bff93720", "presence": "offline"})
        await wait_until(lambda: heard[-1][1] == "presence")
    await reader
    kinds = [kind for _, kind, _ in heard if kind != "beat"]
    assert kinds == ["hello", "hello", "hello", "presence"]
    # Whoever comes back to what was before the gap hears of it.
    missed = live.read(heard[0][0], ["presence"])
    assert parse(await anext(missed))[0][2]["resumed"] is True
    await missed.aclose()


async def test_who_looks_begins_anew_once_more_when_gateways_have_had_time_to_say_who_lives(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "GRACE_S", 0.1)
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []

    def greetings() -> int:
        return sum(kind == "hello" for _, kind, _ in heard)

    async with running(live):
        reader = asyncio.create_task(collect(live, heard, "presence"))
        # One for who comes; for the server itself it begins as well.
        await wait_until(lambda: greetings() == 3)
        await store.do("CLIENT", "KILL", "TYPE", "pubsub")
        await wait_until(lambda: greetings() == 5)
        await asyncio.sleep(0.3)
    await reader
    assert greetings() == 5


async def test_many_changes_at_once_are_one_message(store: Store) -> None:
    names = [f"g{number}" for number in range(30)]
    for name in names:
        await groups.add(store, name=name)
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []
    async with running(live):
        reader = asyncio.create_task(collect(live, heard))
        await wait_until(lambda: any(kind == "levels" for _, kind, _ in heard))
        before, began_s = len(heard), time.monotonic()
        for name in names:
            await publish(store, name, 10)
        await wait_until(
            lambda: sum(len(data["levels"]) for _, kind, data in heard[before:] if kind == "levels") >= 30  # type: ignore[arg-type]
        )
        # However long publishing takes: one in a tick, and one on either side.
        ticks = (time.monotonic() - began_s) / live_module.TICK_S
        assert sum(kind == "levels" for _, kind, _ in heard[before:]) < ticks + 2
    await reader


async def test_levels_that_nobody_keeps_fresh_become_unknown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_module, "SILENCE_S", 0.2)
    monkeypatch.setattr(live_module, "BEAT_S", 0.1)
    await groups.add(store, name="internet")
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []
    async with running(live):
        reader = asyncio.create_task(collect(live, heard))
        await wait_until(lambda: heard)
        await publish(store, "internet", 10)
        await wait_until(lambda: "green" in str(heard))
        place = next(number for number, message in enumerate(heard) if "green" in str(message))
        await wait_until(lambda: "no leveler" in str(heard[place:]), timeout_s=8)
    await reader


async def test_readings_are_told_together_and_of_each_device_the_newest(store: Store) -> None:
    live = Live(store, lambda: NOW_MS)
    heard: list[tuple[str, str, dict[str, object]]] = []
    async with running(live):
        reader = asyncio.create_task(collect(live, heard, "readings"))
        await wait_until(lambda: any(kind == "beat" for _, kind, _ in heard))
        for number in range(10):
            await readings.report(store, "3c71bff93720", {"f": number, f"r{number}": 1}, NOW_MS + number)
        await wait_until(lambda: "r9" in str(heard))
        told = [data["readings"]["3c71bff93720"] for _, kind, data in heard if kind == "readings"]  # type: ignore[index]
        assert len(told) < 4
        assert (told[-1]["at_ms"], told[-1]["values"]["f"]) == (NOW_MS + 9, 9)
        assert {kind for _, kind, _ in heard} == {"hello", "beat", "readings"}
    await reader


async def test_numbers_are_taken_in_only_while_somebody_looks_and_for_a_while_after(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "READINGS_S", 0.05)
    live = Live(store, lambda: NOW_MS)
    taken: list[str] = []
    monkeypatch.setattr(live, "_report", lambda reports: taken.extend(reports))
    async with running(live):

        async def heard_of(device_id: str, mark: str) -> bool:
            await readings.report(store, device_id, {"a": 1}, NOW_MS)
            await events.add(store, mark, {})
            # Messages come in order.
            return any(mark.encode() in message for _, message in live._kept)

        await wait_until(lambda: heard_of("00000000000a", "nobody"))
        assert taken == []
        # Whoever reads the fleet will follow on from here.
        assert live.position
        await wait_until(lambda: heard_of("00000000000b", "somebody"))
        await wait_until(lambda: taken)
        assert set(taken) == {"00000000000b"}
        monkeypatch.setattr(live_module, "RESUME_S", 0.0)
        await wait_until(lambda: heard_of("00000000000c", "nobody again"))
        assert set(taken) == {"00000000000b"}


async def test_a_reader_whose_token_ends_is_sent_away(store: Store, web: Web) -> None:
    await tokens.add(store, name="laptop", role="admin", now_ms=1)
    token = await tokens.add(store, name="tv", role="viewer", now_ms=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(f"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
    assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"event: hello"), 5)
    await tokens.remove(store, name="tv")
    told = await asyncio.wait_for(reader.readuntil(b"\r\n0\r\n\r\n"), 10)
    assert b"event: registry" not in told
    writer.close()
    await writer.wait_closed()


async def test_a_kind_that_there_is_not_is_refused(web: Web) -> None:
    assert (await web.get("/api/live?kinds=levels,dances", 422))["field"] == "kinds"


async def test_the_feed_comes_over_http(store: Store, web: Web) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"GET /api/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert b"text/event-stream" in head
    await web.post("/api/rooms", {"name": "attic"})
    text = b""
    while b"event: registry" not in text:
        text += await asyncio.wait_for(reader.read(4_096), 5)
    assert b"event: hello" in text
    writer.close()
    await writer.wait_closed()

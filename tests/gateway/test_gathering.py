"""Numbers of devices reach Redis together; while it is away, of each the newest is kept."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping

import pytest

from espfleet.domain.shards import shard_of
from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.gateway.gathering import AT_ONCE, Gathering
from espfleet.store import readings
from espfleet.store.client import Store
from espfleet.store.feed import Feed, ReadingsSent, Resync, Topic
from espfleet.store.readings import MAX_NAMES, Report
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start, lamp_of, running

PORCH, ROOF = "00000000000a", "00000000000b"
MANY = [f"02be{number:08x}" for number in range(AT_ONCE * 3)]


class Away:
    """A Redis that takes numbers or not, and what it was asked to take."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, failure: StoreError | None = None) -> None:
        self.failure = failure or StoreUnavailableError("Redis is away")
        self.away: set[int] | None = None
        self.asked: list[list[str]] = []
        self._put = readings.put_all
        monkeypatch.setattr(readings, "put_all", self.put_all)

    async def put_all(self, store: Store, reports: Mapping[str, Report]) -> None:
        self.asked.append([*reports])
        parts = {shard_of(device_id, store.shards) for device_id in reports}
        if self.away is None or parts & self.away:
            raise self.failure
        await self._put(store, reports)


async def values_of(store: Store, device_id: str) -> dict[str, tuple[float, int]]:
    return {name: (one.value, one.at_ms) for name, one in (await readings.get(store, device_id)).items()}


async def test_of_each_name_the_newest_reading_is_told(store: Store) -> None:
    gathering = Gathering(store)
    gathering.read(PORCH, {"a": 1, "b": 1}, 1)
    gathering.read(PORCH, {"b": 2}, 2)
    gathering.read(ROOF, {"a": 3}, 3)
    await gathering.flush()
    assert await values_of(store, PORCH) == {"a": (1, 2), "b": (2, 2)}
    assert await values_of(store, ROOF) == {"a": (3, 3)}


async def test_devices_of_a_partition_are_told_about_together_and_not_too_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Away(monkeypatch)
    redis.away = set()
    gathering = Gathering(store)
    for device_id in MANY:
        gathering.read(device_id, {"a": 1}, 5)
    await gathering.flush()
    assert sorted(device_id for some in redis.asked for device_id in some) == MANY
    assert all(len(some) <= AT_ONCE for some in redis.asked)
    assert all(len({shard_of(device_id, store.shards) for device_id in some}) == 1 for some in redis.asked)
    assert len(redis.asked) <= store.shards + len(MANY) / AT_ONCE
    found = await readings.get_all(store, MANY)
    assert all(values == {"a": readings.Reading(1, 5)} for values in found.values())


async def test_what_comes_while_redis_is_away_is_told_when_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis = Away(monkeypatch)
    gathering = Gathering(store)
    async with running(gathering.run()):
        gathering.read(PORCH, {"a": 1, "b": 1}, 1)
        await wait_until(lambda: "cannot be told" in caplog.text)
        gathering.read(PORCH, {"a": 2}, 2)
        redis.away = set()

        async def told() -> bool:
            return await values_of(store, PORCH) == {"a": (2, 2), "b": (1, 2)}

        await wait_until(told)
        await wait_until(lambda: "is told the readings of devices again" in caplog.text)
    assert caplog.text.count("cannot be told") == 1


async def test_a_server_of_several_that_is_away_does_not_hold_up_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Away(monkeypatch)
    gone = shard_of(PORCH, store.shards)
    redis.away = {gone}
    gathering = Gathering(store)
    gathering.read(PORCH, {"a": 1}, 1)
    others = [device_id for device_id in MANY if shard_of(device_id, store.shards) != gone]
    for device_id in others:
        gathering.read(device_id, {"a": 1}, 1)
    with pytest.raises(StoreUnavailableError):
        await gathering.flush()
    assert all((await readings.get_all(store, others)).values())
    assert await values_of(store, PORCH) == {}
    redis.away, redis.asked = set(), []
    await gathering.flush()
    assert redis.asked == [[PORCH]]
    assert await values_of(store, PORCH) == {"a": (1, 1)}


async def test_what_redis_refuses_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis = Away(monkeypatch, StoreError("Redis is full"))
    gathering = Gathering(store)
    async with running(gathering.run()):
        gathering.read(PORCH, {"a": 1}, 1)
        await wait_until(lambda: "Redis is full" in caplog.text)
        redis.away = set()
        await wait_until(lambda: "1 reports were refused" in caplog.text)
    assert redis.asked == [[PORCH]]


async def test_a_flush_that_is_cut_off_loses_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put_all, at_it = readings.put_all, asyncio.Event()

    async def hang(store: Store, reports: Mapping[str, Report]) -> None:
        at_it.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(readings, "put_all", hang)
    gathering = Gathering(store)
    async with running(gathering.run()):
        gathering.read(PORCH, {"a": 1, "b": 1}, 1)
        await at_it.wait()
        gathering.read(PORCH, {"a": 2}, 2)
    monkeypatch.setattr(readings, "put_all", put_all)
    await gathering.flush()
    assert await values_of(store, PORCH) == {"a": (2, 2), "b": (1, 2)}


async def test_while_redis_is_away_a_device_cannot_fill_the_memory_with_names(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = Away(monkeypatch)
    gathering = Gathering(store)
    for number in range(10):
        gathering.read(PORCH, {f"r{number}.{one}": 1 for one in range(50)}, number)
        with pytest.raises(StoreUnavailableError):
            await gathering.flush()
    redis.away = set()
    await gathering.flush()
    assert len(await values_of(store, PORCH)) == MAX_NAMES


async def test_those_who_listen_hear_of_each_device_the_newest(store: Store) -> None:
    gathering = Gathering(store)
    async with asyncio.timeout(30), Feed(store, [Topic.READINGS]) as feed:
        heard = aiter(feed)
        assert isinstance(await anext(heard), Resync)
        async with running(gathering.run_telling()):
            gathering.read(PORCH, {"a": 1, "b": 1}, 1)
            await gathering.flush()
            gathering.read(PORCH, {"a": 2}, 2)
            await gathering.flush()
            told = await anext(heard)
    assert isinstance(told, ReadingsSent)
    assert json.loads(told.text) == {PORCH: [2, {"a": 2, "b": 1}]}


async def test_a_gateway_that_stops_tells_what_it_still_has(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.gathering.GATHER_S", 600)
    device, token = await fleet.add("porch", 1)
    gateway = await start()
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.send("readings", values={"a": 1})
        await (await lamp.socket.ping())
        assert await readings.get(fleet.store, device.id) == {}
        await gateway.stop()
    assert (await readings.get(fleet.store, device.id))["a"].value == 1

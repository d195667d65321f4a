"""What devices report reaches Redis; while it is away, the newest is kept, and it has an end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from espfleet.domain.messages import LampEvent
from espfleet.errors import StoreUnavailableError
from espfleet.gateway.reports import KEPT, Reports
from espfleet.store import events, readings
from espfleet.store.client import Store
from tests.conftest import wait_until
from tests.gateway.conftest import running

PORCH, ROOF = "00000000000a", "00000000000b"


class Away:
    """Redis as one wishes: away, or there again."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.away = True
        self._put, self._add = readings.put, events.add
        monkeypatch.setattr(readings, "put", self.put)
        monkeypatch.setattr(events, "add", self.add)

    async def put(self, store: Store, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
        self._check()
        await self._put(store, device_id, values, at_ms)

    async def add(self, store: Store, kind: str, fields: Mapping[str, Any]) -> None:
        self._check()
        await self._add(store, kind, fields)

    def _check(self) -> None:
        if self.away:
            raise StoreUnavailableError("Redis is away")


async def values_of(store: Store, device_id: str) -> dict[str, tuple[float, int]]:
    return {name: (one.value, one.at_ms) for name, one in (await readings.get(store, device_id)).items()}


async def test_of_each_name_the_newest_reading_is_told(store: Store) -> None:
    reports = Reports(store)
    reports.read(PORCH, {"a": 1, "b": 1}, 1)
    reports.read(PORCH, {"b": 2}, 2)
    reports.read(ROOF, {"a": 3}, 3)
    await reports.flush()
    assert await values_of(store, PORCH) == {"a": (1, 2), "b": (2, 2)}
    assert await values_of(store, ROOF) == {"a": (3, 3)}


async def test_what_comes_while_redis_is_away_is_told_when_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    redis = Away(monkeypatch)
    reports = Reports(store)
    async with running(reports.run()):
        reports.read(PORCH, {"a": 1, "b": 1}, 1)
        reports.happened(PORCH, LampEvent(name="button", fields={}), 1)
        await wait_until(lambda: "cannot be told" in caplog.text)
        reports.read(PORCH, {"a": 2}, 2)
        redis.away = False

        async def told() -> bool:
            names = [event.fields["event"] for event in await events.latest(store)]
            return names == ["button"] and await values_of(store, PORCH) == {"a": (2, 2), "b": (1, 2)}

        await wait_until(told)
        await wait_until(lambda: "is told again" in caplog.text)
    assert caplog.text.count("cannot be told") == 1


async def test_what_is_kept_has_an_end_and_the_newest_stays(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    redis = Away(monkeypatch)
    redis.away = False
    reports = Reports(store)
    for number in range(KEPT + 100):
        reports.happened(PORCH, LampEvent(name=f"event-{number}", fields={}), number)
    await reports.flush()
    told = [event.fields["event"] for event in await events.latest(store, 2 * KEPT)]
    assert (len(told), told[-1]) == (KEPT, f"event-{KEPT + 99}")

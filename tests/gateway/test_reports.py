"""What devices report reaches Redis; while it is away, the newest is kept, and it has an end."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytest

from espfleet.domain.messages import LampEvent
from espfleet.errors import StoreUnavailableError
from espfleet.gateway.reports import KEPT, Reports
from espfleet.store import events
from espfleet.store.client import Store
from tests.conftest import wait_until
from tests.gateway.conftest import running

PORCH = "00000000000a"


async def test_what_comes_while_redis_is_away_is_told_when_it_is_back(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    is_away, add = True, events.add

    async def add_unless_away(store: Store, kind: str, fields: Mapping[str, Any]) -> None:
        if is_away:
            raise StoreUnavailableError("Redis is away")
        await add(store, kind, fields)

    monkeypatch.setattr(events, "add", add_unless_away)
    reports = Reports(store)
    async with running(reports.run()):
        reports.happened(PORCH, LampEvent(name="button", fields={}), 1)
        await wait_until(lambda: "cannot be told" in caplog.text)
        is_away = False

        async def told() -> bool:
            return [event.fields["event"] for event in await events.latest(store)] == ["button"]

        await wait_until(told)
        await wait_until(lambda: "is told again" in caplog.text)
    assert caplog.text.count("cannot be told") == 1


async def test_what_is_kept_has_an_end_and_the_newest_stays(store: Store) -> None:
    reports = Reports(store)
    for number in range(KEPT + 100):
        reports.happened(PORCH, LampEvent(name=f"event-{number}", fields={}), number)
    await reports.flush()
    told = [event.fields["event"] for event in await events.latest(store, 2 * KEPT)]
    assert (len(told), told[-1]) == (KEPT, f"event-{KEPT + 99}")

"""EspNet's commands about metrics: each works, or points to the one that does."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from espfleet.domain.points import Point
from espfleet.store import audit, points
from espfleet.store.client import open_store
from tests.cli.conftest import Type
from tests.workers.test_sender import Sink, sink

__all__ = ["sink"]


@pytest.fixture
def queued(redis_url: str, home: Path) -> Iterator[None]:
    """Three metrics in the outbox."""

    async def fill() -> None:
        async with open_store(redis_url, name="test") as store:
            await points.append(store, [Point(f"m{number}", 1.0, int(time.time())) for number in range(3)])

    asyncio.run(fill())
    return iter(())


def test_the_outbox_is_shown_sent_and_empty(
    type_: Type, queued: None, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_("init_consumers").code == 0
    shown = type_("xinfo").json
    assert (shown["entries"], shown["unread"]) == (1, 1)
    assert "DATADOG_API_KEY" in shown["note"]
    refused = type_("upload_queued_metrics")
    assert (refused.code, "set DATADOG_API_KEY" in refused.err) == (1, True)
    monkeypatch.setenv("DATADOG_API_KEY", "k3y")
    monkeypatch.setenv("DATADOG_URL", sink.url)
    assert type_("upload_queued_metrics").json == 1
    assert len(sink.accepted) == 3
    assert type_("upload_queued_metrics").json == 0
    assert type_("xpending").json == []


def test_what_failed_stays_and_the_backlog_is_sent(
    type_: Type, queued: None, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATADOG_API_KEY", "k3y")
    monkeypatch.setenv("DATADOG_URL", sink.url)
    sink.plan = [(500, {})]
    failed = type_("upload_queued_metrics")
    assert (failed.code, "HTTP 500" in failed.err) == (1, True)
    [one] = type_("xpending").json
    assert one["consumer"] == "root"
    [claimed] = type_("xclaim", "0", one["id"]).json
    assert [point["name"] for point in claimed["points"]] == ["m0", "m1", "m2"]
    assert type_("process_backlog", "0").json == 1
    assert len(sink.accepted) == 3


def test_an_entry_can_be_given_up(type_: Type, queued: None, sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADOG_API_KEY", "k3y")
    monkeypatch.setenv("DATADOG_URL", sink.url)
    sink.plan = [(500, {})]
    type_("upload_queued_metrics")
    [one] = type_("xpending").json
    assert type_("xack", one["id"]).json == 1
    assert type_("xinfo").json["entries"] == 0


@pytest.mark.parametrize("name", ["xreadg", "xreadgall", "send_to_datadog"])
def test_a_name_that_was_a_trap_points_to_the_right_one(type_: Type, name: str) -> None:
    assert "use ./espcli" in type_(name).err


def test_keys_are_never_shown(type_: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATADOG_API_KEY", "k3yk3y")
    monkeypatch.setenv("BOARD_TOKEN", "t0kent0ken")
    told = type_("settings").out
    assert "k3yk3y" not in told
    assert "t0kent0ken" not in told
    assert json.loads(told)


def test_the_figures_can_be_seen_without_sending_any(type_: Type) -> None:
    assert isinstance(type_("metrics").json, list)


def test_what_was_given_up_is_listed_with_its_reason(
    type_: Type, queued: None, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert type_("xdead").json == []
    monkeypatch.setenv("DATADOG_API_KEY", "k3y")
    monkeypatch.setenv("DATADOG_URL", sink.url)
    sink.poison = {"m1"}
    assert type_("upload_queued_metrics").json == 1
    [dead] = type_("xdead").json
    assert (dead["why"], [point["name"] for point in dead["points"]]) == ("HTTP 400", ["m1"])


def test_any_key_can_be_read_and_set(type_: Type, home: Path) -> None:
    assert type_("r", "set", "outside", "12.5", "ex", "600").json is True
    assert type_("r", "get", "outside").json == "12.5"
    assert type_("r", "get", "nothing").json is None
    assert type_("r", "hgetall", "espfleet:{reg}:settings").json["schema"]
    wrong = type_("r", "get")
    assert (wrong.code, "wrong number of arguments" in wrong.err) == (1, True)
    assert type_("r").code == 1
    for word in ("flushall", "SUBSCRIBE", "blpop"):
        refused = type_("r", word, "x")
        assert (refused.code, "is not for here" in refused.err) == (1, True)


def test_that_a_command_was_sent_is_written_down_and_not_what_it_held(type_: Type, home: Path, redis_url: str) -> None:
    assert type_("r", "set", "outside", "s3cret").code == 0

    async def noted() -> list[audit.Entry]:
        async with open_store(redis_url, name="test") as store:
            return [one for one in await audit.latest(store) if one.action == "redis"]

    assert [one.details for one in asyncio.run(noted())] == [{"command": "set"}]
    assert type_("r", "del", "outside").json == 1


def test_keys_of_the_fleet_are_listed_and_no_others(type_: Type, queued: None) -> None:
    type_("r", "set", "outside", "1")
    listed = {key["key"]: key for key in type_("keys").json}
    assert {"{reg}:settings", "{metrics}:outbox"} <= set(listed)
    assert "outside" not in " ".join(listed)
    assert listed["{reg}:settings"]["ttl_ms"] is None
    assert [key["key"] for key in type_("keys", "out*x").json] == ["{metrics}:outbox"]
    assert type_("r", "del", "outside").json == 1

"""The exporter: figures reach Prometheus and the outbox, and Datadog through it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import urllib.request
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from espfleet.domain.levels import LevelBook
from espfleet.domain.points import Point
from espfleet.domain.shards import shard_of
from espfleet.exports.datadog import Datadog
from espfleet.exports.dogstatsd import DogStatsd
from espfleet.exports.prometheus import Prometheus
from espfleet.services import devices, figures, targets
from espfleet.services.boards import Visit
from espfleet.store import levels, points, readings, registry
from espfleet.store.client import Store
from espfleet.workers import exporter as exporters
from espfleet.workers.exporter import Exporter
from tests.conftest import wait_until
from tests.ports import free_port
from tests.workers.test_sender import Sink, sink

__all__ = ["sink"]
ID = "3c71bff93720"


async def with_a_board(store: Store) -> None:
    await devices.register(store, device_id=ID, name="porch", now_ms=1)
    await readings.put(store, ID, {"air.temp": 21.5}, time.time_ns() // 1_000_000)


async def test_prometheus_can_read_what_it_fetches(store: Store) -> None:
    await with_a_board(store)
    shown = Prometheus("127.0.0.1", free_port())
    exporter = Exporter(store, "e1", prometheus=shown)
    try:
        await exporter.show()
        text = await fetched(shown)
    finally:
        await exporter.close()
    found = {family.name: family for family in text_string_to_metric_families(text)}
    [reading] = found["espfleet_reading"].samples
    assert (reading.labels, reading.value) == ({"name": "porch", "reading": "air.temp"}, 21.5)
    # Also what there is none of: what is not told any more would stand at Datadog as it was last.
    counts = {sample.labels["state"]: sample.value for sample in found["espfleet_devices"].samples}
    assert counts == {"live": 0, "late": 0, "offline": 1}


@pytest.mark.parametrize(("ago_ms", "told"), [(1_000, True), (-60_000, True), (150_000, False), (-86_400_000, False)])
async def test_a_reading_of_another_time_is_no_figure(store: Store, ago_ms: int, told: bool) -> None:
    await devices.register(store, device_id=ID, name="porch", now_ms=1)
    now_ms = await store.time_ms()
    # A gateway whose clock is a day ahead would have it told for a day.
    await readings.put(store, ID, {"air.temp": 21.5}, now_ms - ago_ms)
    assert bool(await figures.board_readings(store, now_ms=now_ms)) is told


async def test_what_is_not_measured_any_more_is_no_figure(store: Store) -> None:
    await targets.add(store, name="router", address="192.0.2.1")
    target, shard = (await registry.load(store)).targets["router"], shard_of("default", store.shards)
    book, now_ms = LevelBook(), await store.time_ms()
    book.configure({"router": target}, {})
    for ago_ms in range(30_000, 0, -1_000):
        book.add(book.rows(["router"]), np.array([20_000], np.float32), np.array([now_ms - ago_ms]))
    told = {}
    for at_ms in (now_ms, now_ms + 10_000):
        book.evaluate(at_ms)
        await levels.put_snapshots(store, {shard: book.summary()})
        found = await figures.collect(store, now_ms=at_ms)
        told[at_ms - now_ms] = {point.name: point.value for point in found if "target:router" in point.tags}
    assert told[0] == {"espfleet.latency_ms": 20, "espfleet.jitter_ms": 0, "espfleet.loss_percent": 0}
    assert told[10_000] == {}
    view = await targets.view(store, name="router")
    assert view.summary is not None
    assert (view.summary.unknown, view.summary.now_ms, view.summary.last_ms) == ("no samples any more", None, 20)


async def fetched(shown: Prometheus) -> str:
    url = f"http://127.0.0.1:{shown.port}/metrics"
    return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=30).read().decode())


async def test_prometheus_is_told_nothing_that_may_no_longer_be_true(store: Store) -> None:
    await with_a_board(store)
    shown = Prometheus("127.0.0.1", free_port())
    try:
        shown.show([Point("espfleet.level", 3.0, 1, ("group:wan",))], 60.0)
        text = await fetched(shown)
        assert 'espfleet_level{group="wan"} 3.0' in text
        assert "espfleet_fresh 1.0" in text
        shown.show([Point("espfleet.level", 3.0, 1, ("group:wan",))], 0.0)
        text = await fetched(shown)
        assert "espfleet_level" not in text
        assert "espfleet_fresh 0.0" in text
    finally:
        shown.close()


class Shown(Prometheus):
    """Serves nothing, and notes for how long it is to show what it is told."""

    def __init__(self) -> None:
        self.for_s: list[float] = []

    def show(self, points: Sequence[Point], for_s: float) -> None:
        self.for_s.append(for_s)


@pytest.mark.parametrize(
    ("takes_s", "work_s", "every_s"),
    [(0.0, 0.0, 0.5), (2.0, 0.01, 0.5), (0.1, 0.05, 1.0), (9.0, 9.0, 1.5)],
    ids=["idle", "a busy machine", "a large fleet", "a very large one"],
)
async def test_metrics_are_collected_again_by_the_work_it_is_and_never_true_for_long(
    store: Store, monkeypatch: pytest.MonkeyPatch, takes_s: float, work_s: float, every_s: float
) -> None:
    times = {"ticks": 100.0, "work": 1.0}

    async def collect(*_: object, **__: object) -> list[Point]:
        times["ticks"] += takes_s
        times["work"] += work_s
        return []

    monkeypatch.setattr("espfleet.services.figures.collect", collect)
    shown = Shown()
    exporter = Exporter(store, "e1", prometheus=shown, ticks=lambda: times["ticks"], work=lambda: times["work"])
    await exporter.show()
    assert shown.for_s == [pytest.approx(2.5 - takes_s)], "what is shown is as old as the collecting of it took"
    times["ticks"] = 100 + every_s - 0.01
    await exporter.show()
    assert len(shown.for_s) == 1
    times["ticks"] = 100 + every_s
    await exporter.show()
    assert len(shown.for_s) == 2


async def test_figures_reach_datadog_through_the_outbox(store: Store, sink: Sink) -> None:
    await with_a_board(store)
    exporter = Exporter(store, "e1", datadog=Datadog(url=sink.url, api_key="k3y"))
    await exporter.step()
    assert ("espfleet.devices", 1.0) in sink.accepted
    assert (await points.info(store))["entries"] == 0
    await exporter.close()


async def test_of_two_exporters_one_sends(store: Store, sink: Sink) -> None:
    await with_a_board(store)
    both = [Exporter(store, name, datadog=Datadog(url=sink.url, api_key="k3y")) for name in ("e1", "e2")]
    for exporter in both:
        await exporter.step()
    assert sink.accepted.count(("espfleet.devices", 1.0)) == 1
    for exporter in both:
        await exporter.close()


async def test_an_agent_is_told_figures_by_one_and_visits_by_whoever_makes_them(store: Store) -> None:
    await with_a_board(store)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
        agent.bind(("127.0.0.1", 0))
        agent.settimeout(30)
        both = [
            Exporter(store, name, dogstatsd=DogStatsd("127.0.0.1", agent.getsockname()[1])) for name in ("e1", "e2")
        ]
        for exporter in both:
            await exporter.step()
        current = await registry.load(store)
        both[1].tell(current, current.devices[ID], Visit(at_ms=7_000, f=112.0, gpio={}))
        heard = b""
        while b"esp32.f:112|g|#name:porch" not in heard:
            heard += agent.recv(65_536) + b"\n"
        assert heard.count(b"espfleet.devices:1|g|#state:offline") == 1
        assert both[0].figures()["dogstatsd_sent"] >= 1
        for exporter in both:
            await exporter.close()


async def test_while_datadog_thinks_for_long_nobody_else_sends_the_same(
    store: Store, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporters, "LEASE_MS", 3_000)
    monkeypatch.setattr(exporters, "LEASE_S", 0.2)
    await with_a_board(store)
    asked, go_on, judge = threading.Event(), threading.Event(), sink.judge

    def slow(series: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
        asked.set()
        go_on.wait(30)
        return judge(series)

    sink.judge = slow  # type: ignore[method-assign]
    first, second = (Exporter(store, name, datadog=Datadog(url=sink.url, api_key="k3y")) for name in ("e1", "e2"))
    sending = asyncio.create_task(first.step())
    try:
        await wait_until(asked.is_set)
        for _ in range(45):
            await asyncio.sleep(0.1)
            await second.step()
        assert not sending.done()
    finally:
        go_on.set()
    await sending
    await second.step()
    assert sink.requests == 1
    assert sink.accepted.count(("espfleet.devices", 1.0)) == 1
    for exporter in (first, second):
        await exporter.close()


async def test_a_place_that_never_answers_is_left_in_time_and_tried_again(store: Store, sink: Sink) -> None:
    await with_a_board(store)
    go_on, judge = threading.Event(), sink.judge

    def hanging(series: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
        if sink.requests == 1:
            go_on.wait(30)
            return 500, {}
        return judge(series)

    sink.judge = hanging  # type: ignore[method-assign]
    exporter = Exporter(store, "e1", datadog=Datadog(url=sink.url, api_key="k3y", timeout_s=0.3))
    await exporter.step()
    assert exporter.figures()["failures"] == 1
    assert (await points.info(store))["pending"] == 1
    go_on.set()

    async def is_through() -> bool:
        await exporter.step()
        return ("espfleet.devices", 1.0) in sink.accepted

    await wait_until(is_through)
    await exporter.close()

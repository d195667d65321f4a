"""The exporter: figures reach Prometheus and the outbox, and Datadog through it."""

from __future__ import annotations

import asyncio
import socket
import time
import urllib.request

from prometheus_client.parser import text_string_to_metric_families

from espfleet.domain.points import Point
from espfleet.exports.datadog import Datadog
from espfleet.exports.dogstatsd import DogStatsd
from espfleet.exports.prometheus import Prometheus
from espfleet.services import devices
from espfleet.services.boards import Visit
from espfleet.store import points, readings, registry
from espfleet.store.client import Store
from espfleet.workers.exporter import Exporter
from tests.workers.test_sender import Sink, sink

__all__ = ["sink"]
ID = "3c71bff93720"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


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
    assert found["espfleet_devices"].samples[0].labels == {"state": "offline"}


async def fetched(shown: Prometheus) -> str:
    url = f"http://127.0.0.1:{shown.port}/metrics"
    return await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=3).read().decode())


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
        agent.settimeout(5)
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

"""Metrics: none is lost, none that was accepted is sent again, and none that is bad holds up the others."""

from __future__ import annotations

import contextlib
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain.points import Point, board_points, pack, unpack
from espfleet.exports.datadog import Datadog
from espfleet.store import points
from espfleet.store.client import Store
from espfleet.workers.sender import TRIES, Sender

NOW_S = 1_800_000_000


class Sink:
    """Datadog on loopback: answers by plan, then 202; remembers what it accepted."""

    def __init__(self) -> None:
        self.plan: list[tuple[int, dict[str, str]]] = []
        self.poison: set[str] = set()
        #: Answers each request with one of these by an error of its own.
        self.deadly: set[str] = set()
        self.most = 10_000
        self.accepted: list[tuple[str, float]] = []
        self.requests = 0
        self.keys: set[str | None] = set()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.keys.add(self.headers["DD-API-KEY"])
                sink.requests += 1
                status, headers = sink.judge(json.loads(gzip.decompress(body))["series"])
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def judge(self, series: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
        if self.plan:
            return self.plan.pop(0)
        if len(series) > self.most:
            return 413, {}
        if any(one["metric"] in self.poison for one in series):
            return 400, {}
        if any(one["metric"] in self.deadly for one in series):
            return 500, {}
        self.accepted += [(one["metric"], point["value"]) for one in series for point in one["points"]]
        return 202, {}


@contextlib.contextmanager
def serving_sink() -> Iterator[Sink]:
    """Serve a sink until the end."""
    made = Sink()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(30)
    made.server.server_close()


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving_sink() as made:
        yield made


def sender_of(store: Store, sink: Sink, consumer: str = "steward") -> Sender:
    datadog = Datadog(url=sink.url, api_key="k3y", timeout_s=2)
    return Sender(store, datadog.post, consumer=consumer, clock=lambda: NOW_S)


def some(count: int, start: int = 0, at_s: int = NOW_S) -> list[Point]:
    return [Point(f"m{number}", float(number), at_s, ("name:porch",)) for number in range(start, start + count)]


def names(found: list[Point]) -> list[tuple[str, float]]:
    return [(one.name, one.value) for one in found]


async def test_what_is_put_in_comes_out_once(store: Store, sink: Sink) -> None:
    await points.append(store, some(450))
    sender = sender_of(store, sink)
    assert await sender.step() == 1
    assert await sender.step() == 0
    assert sorted(sink.accepted) == sorted(names(some(450)))
    assert sink.keys == {"k3y"}
    assert (await points.info(store))["entries"] == 0
    assert sender.wait_s > 0


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_what_may_work_later_is_tried_again_and_not_lost(store: Store, sink: Sink, status: int) -> None:
    await points.append(store, some(3))
    sink.plan = [(status, {}), (status, {"Retry-After": "17"})]
    sender = sender_of(store, sink)
    await sender.step()
    assert 0 < sender.wait_s <= 1
    await sender.step()
    assert sender.wait_s == (17 if status else 0)
    assert (await points.info(store))["pending"] == 1
    await sender.step()
    assert sorted(sink.accepted) == names(some(3))
    assert (await points.info(store))["entries"] == 0


async def test_a_refused_key_is_not_tried_all_the_time(store: Store, sink: Sink) -> None:
    await points.append(store, some(3))
    sink.plan = [(403, {})]
    sender = sender_of(store, sink)
    await sender.step()
    assert sender.wait_s == 60
    assert (await points.info(store))["pending"] == 1


async def test_a_poison_metric_is_put_aside_and_the_others_go_out(store: Store, sink: Sink) -> None:
    await points.append(store, some(300))
    sink.poison = {"m7", "m250"}
    sender = sender_of(store, sink)
    await sender.step()
    assert len(sink.accepted) == 298
    assert sorted(one.name for _, dead in await points.dead(store) for one in dead) == ["m250", "m7"]
    assert (await points.info(store))["entries"] == 0


async def test_a_metric_that_lets_datadog_fail_is_put_aside_after_ten_tries(store: Store, sink: Sink) -> None:
    await points.append(store, some(1))
    sink.deadly = {"m0", "m205"}
    sender = sender_of(store, sink)
    for number in range(TRIES - 1):
        await sender.step()
        await points.append(store, some(50, start=50 * (number + 1)))
    assert (sink.accepted, sender.buried, sender.failures) == ([], 0, TRIES - 1)
    await sender.step()
    for _ in range(4):
        await sender.step()
    assert sorted(one.name for _, dead in await points.dead(store) for one in dead) == ["m0", "m205"]
    assert len(sink.accepted) == 9 * 50 - 1
    assert (await points.info(store))["entries"] == 0


async def test_a_suspected_metric_is_tried_again_after_errors_for_all(store: Store, sink: Sink) -> None:
    await points.append(store, some(20))
    sink.deadly = {"m3"}
    sender = sender_of(store, sink)
    for _ in range(TRIES):
        await sender.step()
    assert len(sink.accepted) == 19
    sink.deadly, sink.plan = set(), [(500, {})]
    await points.append(store, some(1, start=100))
    for _ in range(4):
        await sender.step()
    assert sorted(sink.accepted) == sorted(names(some(20) + some(1, start=100)))
    assert await points.dead(store) == []


async def test_errors_for_all_are_not_the_fault_of_any_metric(store: Store, sink: Sink) -> None:
    await points.append(store, some(1_200))
    sink.plan = [(500, {})] * 400
    sender = sender_of(store, sink)
    for _ in range(3 * TRIES):
        await sender.step()
    assert sink.plan
    sink.plan.clear()
    for _ in range(3):
        await sender.step()
    assert sorted(sink.accepted) == sorted(names(some(1_200)))
    assert await points.dead(store) == []


async def test_a_batch_that_is_too_large_is_halved(store: Store, sink: Sink) -> None:
    await points.append(store, some(200))
    sink.most = 60
    await sender_of(store, sink).step()
    assert sorted(sink.accepted) == sorted(names(some(200)))


async def test_points_of_more_than_an_hour_ago_are_not_sent(store: Store, sink: Sink) -> None:
    await points.append(store, [*some(2, at_s=NOW_S - 4_000), *some(2, start=5)])
    await sender_of(store, sink).step()
    assert [name for name, _ in sink.accepted] == ["m5", "m6"]
    assert len(await points.dead(store)) == 1


async def test_a_sender_that_is_killed_leaves_nothing_behind(store: Store, sink: Sink) -> None:
    await points.append(store, some(10))
    assert await points.read(store, "steward", 10)
    sender = sender_of(store, sink)
    await sender.step()
    assert len(sink.accepted) == 10


async def test_what_another_one_left_is_claimed(store: Store, sink: Sink) -> None:
    await points.append(store, some(10))
    assert await points.read(store, "gone", 10)
    sender = sender_of(store, sink)
    assert await sender.send(await points.claim(store, "steward", 0)) == 1
    assert len(sink.accepted) == 10


async def test_an_unreachable_place_keeps_everything(store: Store, sink: Sink) -> None:
    await points.append(store, some(10))
    nowhere = Datadog(url="http://127.0.0.1:9", api_key="k3y", timeout_s=1)
    sender = Sender(store, nowhere.post, clock=lambda: NOW_S)
    for _ in range(8):
        await sender.step()
    assert 30 <= sender.wait_s <= 60
    assert (await points.info(store))["entries"] == 1
    assert "k3y" not in repr(nowhere)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.sampled_from([202, 400, 413, 429, 500]), max_size=12)
    | st.lists(st.sampled_from([202, 500, 500]), max_size=30).map(lambda last: [500] * 10 + last),
    st.lists(st.integers(1, 250), min_size=1, max_size=3),
)
async def test_no_metric_is_lost_or_sent_twice_whatever_is_answered(
    store: Store, plan: list[int], sizes: list[int]
) -> None:
    await store.redis.flushdb()
    accepted: list[str] = []

    def post(body: Any) -> None:
        status = plan.pop(0) if plan else 202
        if status != 202:
            from espfleet.errors import ExportError

            raise ExportError("no", status=status)
        accepted.extend(one["metric"] for one in body)

    start = 0
    for size in sizes:
        await points.append(store, some(size, start))
        start += size
    sender = Sender(store, post, clock=lambda: NOW_S)
    for _ in range(20):
        await sender.step()
    # Those under suspicion are judged when others come.
    for _ in range(30):
        await points.append(store, some(1, start))
        start += 1
        await sender.step()
    buried = [one.name for _, dead in await points.dead(store, 1_000) for one in dead]
    assert sorted([*accepted, *buried]) == sorted(f"m{number}" for number in range(start))


def test_what_is_no_point_is_left_out() -> None:
    assert unpack(pack(some(2))) == some(2)
    assert unpack(b"nonsense") == unpack(b"") == unpack(pack(some(2))[:-9]) == []
    rows = zlib.compress(b'[["a",1,2,[]],["b","x",2,[]],["c",NaN,2,[]],3]')
    assert unpack(rows) == [Point("a", 1.0, 2)]


def test_names_of_espnet_are_kept_beside_ours() -> None:
    found = board_points("porch", 7, 112.0, {"lights": (22, 1)}, {"air.temp": 20.0, "air.humidity": 50.0})
    told = {(one.name, one.value, one.tags) for one in found}
    assert ("esp32.f", 112.0, ("name:porch",)) in told
    assert ("esp32.gpio", 1, ("name:porch", "pin:22", "job:lights")) in told
    assert ("esp32.dht22.temp", 68.0, ("name:porch", "sensor:air")) in told
    assert ("espfleet.reading", 20.0, ("name:porch", "reading:air.temp")) in told

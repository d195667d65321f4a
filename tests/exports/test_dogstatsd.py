"""DogStatsD: what an agent of Datadog reads from its socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.points import Point
from espfleet.errors import StartError
from espfleet.exports.dogstatsd import DATAGRAM_BYTES, DogStatsd, datagrams, line_of


@pytest.fixture
def agent() -> Iterator[socket.socket]:
    """A socket on loopback, as an agent has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.settimeout(30)
        yield listening


def test_an_agent_reads_what_is_sent(agent: socket.socket) -> None:
    statsd = DogStatsd("127.0.0.1", agent.getsockname()[1])
    statsd.send([Point("esp32.f", 112.0, 7, ("name:porch",)), Point("espfleet.level", 0.5, 7)])
    assert agent.recv(65_536) == b"esp32.f:112|g|#name:porch\nespfleet.level:0.5|g"
    assert (statsd.sent, statsd.lost) == (2, 0)
    statsd.close()


def test_many_points_come_in_datagrams_that_pass_every_network(agent: socket.socket) -> None:
    statsd = DogStatsd("127.0.0.1", agent.getsockname()[1])
    made = [Point("esp32.gpio", float(one), 7, (f"name:board-{one}", "pin:22")) for one in range(100)]
    statsd.send(made)
    heard: list[bytes] = []
    while len(heard) < 100:
        datagram = agent.recv(65_536)
        assert len(datagram) <= DATAGRAM_BYTES
        heard += datagram.split(b"\n")
    assert heard == [line_of(one).encode() for one in made]
    statsd.close()


def test_where_nobody_listens_it_is_lost_and_nothing_fails(agent: socket.socket) -> None:
    port = agent.getsockname()[1]
    agent.close()
    statsd = DogStatsd("127.0.0.1", port)
    for _ in range(3):
        statsd.send([Point("esp32.f", 1.0, 7)])
    assert statsd.sent + statsd.lost == 3
    statsd.close()


def test_a_host_that_is_none_is_said_at_the_start() -> None:
    with pytest.raises(StartError, match=r"there is no DogStatsD at nowhere\.invalid:8125: .*; see DOGSTATSD_HOST"):
        DogStatsd("nowhere.invalid", 8125)


NASTY = st.text(st.sampled_from("ab:|@#,.\n\r\t\0 \x7fäß漢"), max_size=40)


@given(st.lists(st.builds(Point, NASTY, st.floats(-1e9, 1e9), st.just(7), st.tuples(NASTY, NASTY)), max_size=60))
def test_no_name_and_no_tag_can_forge_another_point(points: list[Point]) -> None:
    found = list(datagrams(points))
    lines = [line.decode() for datagram, _ in found for line in datagram.split(b"\n")]
    assert sum(count for _, count in found) == len(lines) == len(points)
    for line, point in zip(lines, points, strict=True):
        name, value, *rest = line.split("|")
        assert name.count(":") == 1
        assert float(name.partition(":")[2]) == pytest.approx(point.value)
        assert value == "g"
        assert len(rest) <= 1
        assert len(rest[0].split(",")) == 2
        assert all(datagram.count(b"\0") == 0 and len(datagram) <= DATAGRAM_BYTES for datagram, _ in found)


def test_a_point_that_no_datagram_holds_is_left_out() -> None:
    points = [Point("a", 1.0, 7), Point("b", 1.0, 7, ("x" * 2_000,)), Point("c", 1.0, 7)]
    assert list(datagrams(points)) == [(b"a:1|g\nc:1|g", 2)]

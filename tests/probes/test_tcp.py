from __future__ import annotations

import itertools
import math
import resource
import socket
import time
from collections.abc import Iterator

import pytest

from espfleet.domain.samples import NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.probes.tcp import TcpEngine
from tests.probes.driving import Driven, endpoint
from tests.probes.tun import Answers, Request, Responder


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as made:
        yield made


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that is taken, so that nobody else listens there, and where nobody listens."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made.getsockname()[1]


def url(listener: socket.socket) -> str:
    return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


def test_a_connect_to_loopback_takes_microseconds(listener: socket.socket) -> None:
    with Driven(url(listener), interval_ms=250) as driven:
        driven.rounds_of_each(3)
        assert all(0 < value < 100_000 for value in driven.of(0))
        assert min(driven.of(0)) < 2_000
        counters = driven.engine.counters()
        assert counters.received >= 3
        assert counters.unstamped == counters.refused == counters.lost == 0


def test_a_connection_is_reset_at_once_and_leaves_nothing(listener: socket.socket) -> None:
    with Driven(url(listener), interval_ms=250) as driven:
        driven.rounds_of_each(1)
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(30)
            with pytest.raises(ConnectionResetError):
                connection.recv(1)
        assert driven.engine.outstanding == 0


def test_ipv6_works_alike() -> None:
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        Driven(f"tcp://[::1]:{listener.getsockname()[1]}", interval_ms=250) as driven,
    ):
        driven.rounds_of_each(2)
        assert all(value > 0 for value in driven.of(0))


def test_a_host_that_refuses_is_alive(closed_port: int) -> None:
    with Driven(f"tcp://127.0.0.1:{closed_port}", interval_ms=250) as driven:
        driven.rounds_of_each(3)
        assert all(0 < value < 500_000 for value in driven.of(0))
        counters = driven.engine.counters()
        assert counters.refused == counters.received == counters.unstamped >= 3


def test_a_host_that_does_not_answer_is_lost_and_its_sockets_are_closed() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        # A full queue of connections: the kernel drops every further SYN.
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        with Driven(url(listener), interval_ms=100, timeout_ms=150) as driven:
            driven.rounds_of_each(3)
            assert all(map(math.isnan, driven.of(0)))
            driven.engine.retire()
            driven.until(lambda: driven.engine.outstanding == 0)
            assert driven.engine.counters().lost == len(driven.of(0))
            assert isinstance(driven.engine, TcpEngine)
            assert not driven.engine._attempts
        for filler in fillers:
            filler.close()


@pytest.mark.root
@pytest.mark.usefixtures("network")
def test_the_round_trip_is_the_kernels_however_late_we_look() -> None:
    with Driven("tcp://10.99.2.1:80", interval_ms=5_000, timeout_ms=5_000) as driven:
        driven.tick()
        time.sleep(2.0)
        driven.tick()
        (value,) = driven.of(0)
        assert 20_000 <= value < 1_500_000


@pytest.mark.root
@pytest.mark.usefixtures("network")
def test_unreachable_and_no_route_are_known_at_once() -> None:
    with Driven("tcp://10.99.4.1:80", "tcp://192.0.2.1:80", interval_ms=9_000, timeout_ms=9_000) as driven:
        begun = time.monotonic()
        driven.rounds_of_each(1)
        assert time.monotonic() - begun < 8.0
        assert driven.of(0)[:1] == driven.of(1)[:1] == [UNREACHABLE]


@pytest.mark.root
def test_a_connect_that_needed_a_second_syn_is_lost(network: Responder) -> None:
    seen = itertools.count()

    def ignore_the_first(request: Request) -> Answers:
        return [(0.0, request.reply())] if next(seen) else []

    network.behaviours[2] = ignore_the_first
    with Driven("tcp://10.99.2.1:80", interval_ms=5_000, timeout_ms=5_000) as driven:
        driven.rounds_of_each(1)
        assert math.isnan(driven.of(0)[0])
        assert driven.engine.counters().lost == 1


@pytest.mark.root
@pytest.mark.usefixtures("network")
def test_only_so_many_connections_are_made_at_once() -> None:
    endpoints = [endpoint(f"tcp://10.99.3.{number + 1}:80", 300, f"t{number}") for number in range(20)]
    ips = [one.address.host for one in endpoints]
    engine = TcpEngine(endpoints, 100, ips, in_flight=4)
    try:
        begun = time.monotonic()
        while time.monotonic() < begun + 0.8:
            engine.tick(time.monotonic_ns())
            assert len(engine._attempts) <= 4
            time.sleep(0.005)
        counters = engine.counters()
        # A machine that is busy gives them more time.
        assert counters.sent <= 4 * ((time.monotonic() - begun) / 0.3 + 1)
        assert counters.skipped > 0, "what found no place in time is left out, not lost"
        assert counters.lost <= counters.sent
    finally:
        engine.close()


def test_a_process_without_descriptors_measures_nothing_and_calls_nothing_lost(listener: socket.socket) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Driven(url(listener), interval_ms=250) as driven:
        with socket.socket() as highest:
            lowest_free = highest.fileno()
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, hard))
        try:
            driven.rounds_of_each(2)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert driven.of(0)[:2] == [NOT_MEASURED] * 2
        driven.until(lambda: driven.of(0)[-1] > 0)
        assert driven.engine.counters().local_drops >= 2


def test_a_name_moves_and_a_bad_name_is_unresolved(listener: socket.socket, closed_port: int) -> None:
    port = listener.getsockname()[1]
    addresses = f"tcp://bad.test:{port}", f"tcp://good.test:{port}"
    with Driven(*addresses, interval_ms=250, names={"bad.test": None, "good.test": "127.0.0.9"}) as driven:
        driven.rounds_of_each(2)
        assert set(driven.of(0)) == {UNRESOLVED}
        engine, slot = driven.slot(0)
        assert engine.readdress(slot, "127.0.0.1")
        driven.until(lambda: driven.of(0)[-1] > 0)
        assert engine.readdress(slot, "::1"), "one engine probes both families"


def test_what_waits_to_be_connected_makes_the_descriptor_readable(listener: socket.socket) -> None:
    with Driven(url(listener), interval_ms=1_000) as driven:
        (descriptor,) = driven.engine.filenos()
        assert descriptor > 0
        driven.rounds_of_each(1)
        assert driven.engine.next_tick_ns(time.monotonic_ns()) - time.monotonic_ns() > 500_000_000

"""From endpoints to engines, and what they do without permission or addresses."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from espfleet.domain.samples import NOT_MEASURED, UNRESOLVED
from espfleet.domain.targets import Address, ProbeKind, new_target
from espfleet.probes.engines import build_engines, hosts, readdress, without_icmp
from espfleet.probes.icmp import IcmpEngine
from espfleet.probes.outcomes import Counters, Endpoint, Engine
from espfleet.probes.permission import find_out
from espfleet.probes.silent import SilentEngine
from espfleet.probes.sim import SimEngine
from espfleet.probes.tcp import TcpEngine
from espfleet.probes.wire import Family
from tests.probes.driving import Driven, endpoint

NO_ICMP = replace(find_out(), icmp={})


def close(engines: list[tuple[Engine, list[int]]]) -> None:
    for engine, _ in engines:
        engine.close()


def test_there_is_one_engine_for_each_way_of_measuring() -> None:
    if not find_out().icmp:
        pytest.skip("no ICMP here")
    addresses = "127.0.0.1", "tcp://127.0.0.1:1", "sim://calm", "::1", "127.0.0.2", "router.test", "tcp://[::1]:1"
    endpoints = [endpoint(address) for address in addresses]
    engines = build_engines(endpoints, 1_000, permission=find_out(), addresses={"router.test": None})
    kinds = sorted((type(engine).__name__, sorted(indices)) for engine, indices in engines)
    close(engines)
    assert kinds == [
        (IcmpEngine.__name__, [0, 4, 5]),
        (IcmpEngine.__name__, [3]),
        (SimEngine.__name__, [2]),
        (TcpEngine.__name__, [1, 6]),
    ]


def test_no_endpoints_need_no_engine() -> None:
    assert build_engines([], 1_000, permission=NO_ICMP, addresses={}) == []


def test_the_order_is_mixed_and_depends_on_names_alone() -> None:
    def order(names: list[str]) -> list[str]:
        endpoints = [endpoint("sim://calm", name=name) for name in names]
        ((_, indices),) = build_engines(endpoints, 1_000, permission=NO_ICMP, addresses={})
        return [names[index] for index in indices]

    names = [f"host{number}" for number in range(100)]
    mixed = order(names)
    assert sorted(mixed) == sorted(names)
    assert mixed != names
    assert order(names[::-1]) == mixed
    assert order([*names, "new"]) != mixed
    assert [name for name in order([*names, "new"]) if name != "new"] == mixed


def test_an_endpoint_is_made_of_a_target() -> None:
    target = new_target("web", "tcp://192.0.2.1:443", timeout_ms=300)
    assert Endpoint.of(target) == endpoint("tcp://192.0.2.1:443", 300, "web")


def test_without_permission_a_port_is_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with_port = Endpoint("a", Address(kind=ProbeKind.ICMP, host="127.0.0.1", port=port), 500)
        endpoints = [with_port, endpoint("127.0.0.2"), endpoint("name.test")]
        assert without_icmp(endpoints) == (1, 2)
        with Driven(interval_ms=250) as driven:
            driven.endpoints = endpoints
            driven.engines = build_engines(endpoints, 250, permission=NO_ICMP, addresses={})
            assert {type(engine) for engine, _ in driven.engines} == {TcpEngine, SilentEngine}
            driven.rounds_of_each(2)
            assert all(value > 0 for value in driven.of(0))
            assert set(driven.of(1)) == set(driven.of(2)) == {NOT_MEASURED}


def test_a_name_still_being_looked_up_is_not_measured_and_then_told() -> None:
    endpoints = [endpoint("tcp://a.test:1"), endpoint("tcp://b.test:1"), endpoint("sim://calm")]
    with Driven(interval_ms=250) as driven:
        driven.endpoints = endpoints
        driven.engines = build_engines(endpoints, 250, permission=NO_ICMP, addresses={})
        driven.rounds_of_each(1)
        assert driven.of(0)[0] == driven.of(1)[0] == NOT_MEASURED
        assert readdress(driven.engines, endpoints, {"a.test": "127.0.0.1"})
        driven.until(lambda: driven.of(0)[-1] > 0)
        assert set(driven.of(1)) == {NOT_MEASURED}
        assert readdress(driven.engines, endpoints, {"a.test": "127.0.0.1", "b.test": None})
        driven.until(lambda: driven.of(1)[-1] == UNRESOLVED)


def test_a_name_that_changes_family_needs_new_engines() -> None:
    permission = find_out()
    if set(permission.icmp) != set(Family):
        pytest.skip("needs ICMP over both families")
    endpoints = [endpoint("a.test")]
    engines = build_engines(endpoints, 1_000, permission=permission, addresses={"a.test": "127.0.0.1"})
    assert readdress(engines, endpoints, {"a.test": "127.0.0.2"})
    assert not readdress(engines, endpoints, {"a.test": "::1"})
    close(engines)


def test_what_is_silent_is_built_anew_when_it_could_be_probed() -> None:
    only_v6 = replace(NO_ICMP, icmp={Family.V6: find_out().icmp.get(Family.V6)})
    endpoints = [endpoint("a.test")]
    engines = build_engines(endpoints, 1_000, permission=only_v6, addresses={})  # type: ignore[arg-type]
    assert isinstance(engines[0][0], SilentEngine)
    assert readdress(engines, endpoints, {"a.test": None})
    assert readdress(engines, endpoints, {"a.test": "192.0.2.1"})
    assert not readdress(engines, endpoints, {"a.test": "2001:db8::1"})


def test_hosts_to_be_looked_up_are_those_of_real_networks() -> None:
    assert hosts([endpoint("sim://calm"), endpoint("a.test"), endpoint("tcp://b.test:80"), endpoint("192.0.2.1")]) == {
        "a.test",
        "b.test",
        "192.0.2.1",
    }


def test_counters_of_several_engines_add_up_and_the_longest_delay_counts() -> None:
    one = Counters(sent=3, lost=1, lateness_p99_ms=4.0)
    other = Counters(sent=2, late=5, lateness_p99_ms=1.5)
    assert one.with_more(other) == Counters(sent=5, lost=1, late=5, lateness_p99_ms=4.0)

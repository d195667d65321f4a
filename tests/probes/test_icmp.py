"""Echo requests over loopback and over a TUN network, by every kind of socket and link."""

from __future__ import annotations

import math
import socket
import subprocess
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from espfleet.domain.samples import NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.probes.batch import BatchLink
from espfleet.probes.clocks import Clocks
from espfleet.probes.icmp import IcmpEngine
from espfleet.probes.permission import Permission, find_out
from espfleet.probes.sockets import Means
from espfleet.probes.wire import Family
from tests.probes.alongside import alongside
from tests.probes.driving import Driven, endpoint
from tests.probes.tun import DEVICE, Responder

pytestmark = pytest.mark.root

EVERY_LINK = pytest.mark.parametrize("link", ["dgram-batch", "dgram-plain", "raw-batch", "raw-plain"])
BOTH_FAMILIES = pytest.mark.parametrize("address", ["10.99.{}.7", "fd99::{:x}:7"], ids=["v4", "v6"])


def permission_of(link: str) -> Permission:
    means, _, calls = link.partition("-")
    found = find_out()
    return replace(found, icmp=dict.fromkeys(Family, Means(means)), batches=found.batches and calls == "batch")


def link_of(driven: Driven) -> Any:
    """Return the link inside the only engine."""
    assert isinstance(driven.engine, IcmpEngine)
    return driven.engine._link


@EVERY_LINK
@alongside()
def test_loopback_answers_in_microseconds(link: str) -> None:
    with Driven("127.0.0.1", "127.9.8.7", "::1", permission=permission_of(link), interval_ms=500) as driven:
        driven.rounds_of_each(3)
        for index in range(3):
            assert all(0 < value < 100_000 for value in driven.of(index))
            assert min(driven.of(index)) < 1_000
        for engine, _ in driven.engines:
            counters = engine.counters()
            assert counters.lost == counters.spoofed == counters.not_measured == 0
            # The kernel begins to stamp a moment after the first socket of the machine asks for it.
            assert counters.unstamped == counters.received if link.endswith("plain") else counters.unstamped <= 1


def test_raw_sockets_work_where_nobody_may_open_ping_sockets() -> None:
    found = find_out()
    if Family.V4 not in found.icmp:
        pytest.skip("no ICMP at all here")
    with Driven("127.0.0.1", interval_ms=250, permission=found) as driven:
        driven.rounds_of_each(2)
        assert all(value > 0 for value in driven.of(0))


@EVERY_LINK
@BOTH_FAMILIES
@alongside(network=True)
def test_every_behaviour_of_a_network_is_told_apart(link: str, address: str) -> None:
    addresses = [address.format(behaviour) for behaviour in range(1, 13)]
    with Driven(*addresses, interval_ms=700, timeout_ms=500, permission=permission_of(link)) as driven:
        driven.rounds_of_each(1)
        driven.engine.retire()
        driven.until(lambda: driven.engine.outstanding == 0)
        # The last answers are too late, or second ones.
        driven.until(lambda: driven.engine.counters().late == len(driven.of(8)))
        driven.until(lambda: driven.engine.counters().duplicate == 2 * len(driven.of(5)))
        driven.until(lambda: driven.engine.counters().spoofed == sum(len(driven.of(one)) for one in (6, 7, 9, 11)))
        of = {behaviour: driven.of(behaviour - 1) for behaviour in range(1, 13)}
        assert all(1_000 <= value < 500_000 for value in of[1])
        assert all(20_000 <= value < 500_000 for value in of[2])
        assert all(map(math.isnan, of[3])), "a black hole"
        assert set(of[4]) == {UNREACHABLE}, "an ICMP error that quotes all"
        assert set(of[5]) == {UNREACHABLE}, "an ICMP error that quotes eight bytes"
        assert all(1_000 <= value < 500_000 for value in of[6]), "answers thrice"
        assert all(map(math.isnan, of[7])), "answers from another address"
        assert all(map(math.isnan, of[8])), "answers with a wrong token"
        assert all(map(math.isnan, of[9])), "answers after the time-out"
        assert all(10_000 <= value < 500_000 for value in of[10]), "answers wrongly, then rightly"
        assert set(of[11]) == {UNREACHABLE}, "time exceeded on the way"
        assert all(map(math.isnan, of[12])), "answers with two bytes"
        counters = driven.engine.counters()
        assert counters.received == sum(len(of[behaviour]) for behaviour in (1, 2, 6, 10))
        assert counters.duplicate == 2 * len(of[6])
        assert counters.late == len(of[9])
        assert counters.spoofed == sum(len(of[behaviour]) for behaviour in (7, 8, 10, 12))
        assert counters.unreachable == sum(len(of[behaviour]) for behaviour in (4, 5, 11))
        assert counters.lost == sum(len(of[behaviour]) for behaviour in (3, 7, 8, 9, 12))
        assert counters.local_drops == counters.not_measured == counters.skipped == 0


@alongside(network=True)
def test_an_unreachable_target_is_known_long_before_its_time_out() -> None:
    with Driven("10.99.4.7", interval_ms=9_000, timeout_ms=9_000) as driven:
        begun = time.monotonic()
        driven.rounds_of_each(1)
        assert driven.of(0) == [UNREACHABLE]
        assert time.monotonic() - begun < 8.0


@EVERY_LINK
@alongside()
def test_no_route_is_unreachable_and_disturbs_nobody(link: str) -> None:
    with Driven("127.0.0.1", "192.0.2.1", "127.0.0.2", permission=permission_of(link), interval_ms=500) as driven:
        driven.rounds_of_each(2)
        assert set(driven.of(1)) == {UNREACHABLE}
        assert all(value > 0 for value in driven.of(0) + driven.of(2))


@EVERY_LINK
@alongside(network=True)
def test_what_the_kernel_refuses_to_send_is_not_measured(link: str) -> None:
    with Driven("10.99.1.1", "10.99.255.255", "10.99.1.2", permission=permission_of(link), interval_ms=500) as driven:
        driven.rounds_of_each(2)
        assert set(driven.of(1)) == {NOT_MEASURED}, "broadcast without asking for it is EACCES"
        assert all(value > 0 for value in driven.of(0) + driven.of(2))


@alongside(network=True)
def test_a_time_out_may_be_longer_than_the_interval() -> None:
    with Driven("10.99.9.1", "10.99.3.1", interval_ms=250, timeout_ms=2_000) as driven:
        driven.rounds_of_each(3)
        assert all(600_000 <= value < 2_000_000 for value in driven.of(0)[:3])
        assert all(map(math.isnan, driven.of(1)[:3]))
        assert driven.engine.outstanding > 3


@pytest.mark.usefixtures("private")
def test_many_targets_are_driven_by_ticks_and_none_is_lost() -> None:
    addresses = [f"127.2.{number // 200}.{number % 200 + 1}" for number in range(3_000)]
    with Driven(*addresses, interval_ms=300, timeout_ms=200) as driven:
        assert driven.engine.filenos() == ()
        driven.until(lambda: driven.engine.counters().sent >= 9_000)
        driven.engine.retire()
        driven.until(lambda: driven.engine.outstanding == 0)
        counters = driven.engine.counters()
        assert counters.received == counters.sent
        assert counters.unstamped <= 0.01 * counters.sent
        assert len({index for _, index in driven.samples}) == 3_000


@alongside()
def test_few_targets_are_driven_by_their_descriptor() -> None:
    with Driven("127.0.0.1", interval_ms=1_000) as driven:
        (descriptor,) = driven.engine.filenos()
        assert descriptor > 0
        driven.rounds_of_each(1)
        # Nothing is on its way: nobody need look before the next probe is due.
        assert driven.engine.next_tick_ns(time.monotonic_ns()) - time.monotonic_ns() > 500_000_000


@alongside(network=True)
def test_a_set_clock_voids_the_round_and_the_next_is_measured_again() -> None:
    ahead_ns = 0
    clocks = Clocks(realtime_ns=lambda: time.time_ns() + ahead_ns)
    engine = IcmpEngine([endpoint("10.99.2.1")], 200, ["10.99.2.1"], Family.V4, find_out(), clocks=clocks)
    try:
        values: dict[int, float] = {}
        stepped = False
        end = time.monotonic() + 30
        while len(values) < 4 and time.monotonic() < end:
            for found in engine.tick(time.monotonic_ns()):
                values[found.number] = float(found.rtt_us[0])
            if engine.outstanding and len(values) == 1 and not stepped:
                stepped = True
                ahead_ns = 5_000_000
            time.sleep(0.002)
        assert values[0] >= 20_000
        assert values[1] == NOT_MEASURED
        assert values[2] >= 20_000
        assert values[3] >= 20_000
        assert engine.counters().voided_rounds == 1
        assert engine.counters().lost == 0
    finally:
        engine.close()


@pytest.mark.parametrize("link", ["dgram-batch", "dgram-plain"])
@pytest.mark.usefixtures("private")
def test_answers_that_this_machine_drops_are_not_called_lost(link: str) -> None:
    addresses = [f"127.3.0.{number + 1}" for number in range(200)]
    with Driven(*addresses, interval_ms=100, timeout_ms=100, permission=permission_of(link)) as driven:
        link_of(driven).sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        link_of(driven).burst = 256
        time.sleep(0.09)  # so that most of a round is due at once
        driven.until(lambda: driven.engine.counters().sent >= 200)
        driven.engine.retire()
        driven.until(lambda: driven.engine.outstanding == 0)
        counters = driven.engine.counters()
        assert counters.local_drops > 50
        assert counters.lost == 0
        assert counters.not_measured >= 50
        values = np.array(list(driven.samples.values()))
        assert not np.isnan(values).any()
        assert ((values > 0) | (values == NOT_MEASURED)).all()


def throttle(kbit: int, packets: int) -> None:
    """Let the device send that much a second, and hold back that many packets."""
    command = f"tc qdisc replace dev {DEVICE} root tbf rate {kbit}kbit burst 200 limit {packets * 100}"
    subprocess.run(command.split(), check=True)


@pytest.mark.package("tc")
@pytest.mark.parametrize("link", ["dgram-batch", "dgram-plain", "raw-batch"])
@alongside(network=True)
def test_probes_that_a_full_queue_of_this_machine_drops_are_not_called_lost(link: str) -> None:
    throttle(8, packets=3)
    addresses = [f"10.99.1.{number + 1}" for number in range(50)]
    with Driven(*addresses, interval_ms=100, timeout_ms=5_000, permission=permission_of(link)) as driven:
        driven.until(lambda: driven.engine.counters().local_drops > 20)
        counters = driven.engine.counters()
        assert counters.lost == counters.unreachable == 0
        assert counters.not_measured >= counters.local_drops
        assert all(value == NOT_MEASURED or value > 0 for value in driven.samples.values())


@pytest.mark.package("tc")
@pytest.mark.parametrize("link", ["dgram-batch", "dgram-plain"])
@alongside(network=True)
def test_probes_that_wait_for_room_are_sent_as_soon_as_there_is_some(link: str) -> None:
    throttle(8, packets=1_000)
    addresses = [f"10.99.1.{number + 1}" for number in range(30)]
    with Driven(*addresses, interval_ms=300, timeout_ms=5_000, permission=permission_of(link)) as driven:
        link_of(driven).sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        driven.for_s(0.25)
        waiting = driven.engine.counters().sent
        assert 0 < waiting < 18, "the send buffer is full, so sendmmsg says EAGAIN"
        throttle(10_000, packets=1_000)
        driven.until(lambda: driven.engine.counters().sent > waiting + 30)
        driven.until(lambda: all(driven.of(index) and driven.of(index)[-1] > 0 for index in range(30)))
        assert driven.engine.counters().lost == 0


@alongside()
def test_send_stamps_that_get_out_of_step_are_numbered_anew() -> None:
    with Driven("127.0.0.1", interval_ms=250) as driven:
        driven.rounds_of_each(2)
        link = link_of(driven)
        assert isinstance(link, BatchLink)
        before = driven.engine.counters().unstamped
        # As if the kernel had counted a send that it told us had failed.
        link._accepted -= 1
        driven.rounds_of_each(4)
        behind = driven.engine.counters().unstamped
        assert before < behind <= before + 2
        driven.rounds_of_each(7)
        assert driven.engine.counters().unstamped == behind
        assert all(0 < value < 100_000 for value in driven.of(0))


@alongside()
def test_send_stamps_of_many_that_get_out_of_step_are_numbered_anew() -> None:
    addresses = [f"127.6.0.{number + 1}" for number in range(100)]
    with Driven(*addresses, interval_ms=250) as driven:
        driven.rounds_of_each(2)
        link = link_of(driven)
        assert isinstance(link, BatchLink)
        # Some of the stamps that come together look right, others do not.
        link._accepted -= 1
        driven.rounds_of_each(6)
        behind = driven.engine.counters().unstamped
        assert behind > 0
        driven.rounds_of_each(8)
        assert driven.engine.counters().unstamped == behind
        assert driven.engine.counters().lost == 0


@pytest.mark.usefixtures("network")
def test_a_target_can_move_to_another_address_while_it_is_probed(network: Responder) -> None:
    names = {"router.test": "10.99.3.1"}
    with Driven("router.test", "10.99.1.1", interval_ms=300, timeout_ms=2_000, names=names) as driven:
        driven.until(lambda: network.requests >= 4)
        engine, slot = driven.slot(0)
        assert engine.readdress(slot, "10.99.1.5")
        driven.until(lambda: len(driven.of(0)) >= 5)
        values = driven.of(0)
        assert values[0] == NOT_MEASURED, "its answer would have come from the old address"
        assert all(value >= 1_000 for value in values[-2:])
        assert NOT_MEASURED not in driven.of(1)
        assert not engine.readdress(slot, "fd99::1:1"), "the other family needs another engine"


@alongside()
def test_a_name_without_an_address_is_unresolved_on_schedule_until_it_has_one() -> None:
    with Driven("bad.test", "127.0.0.1", "new.test", interval_ms=250, names={"bad.test": None}) as driven:
        driven.rounds_of_each(3)
        assert set(driven.of(0)) == {UNRESOLVED}
        assert all(value > 0 for value in driven.of(1))
        assert set(driven.of(2)) == {NOT_MEASURED}, "nobody knows yet"
        engine, slot = driven.slot(0)
        assert engine.readdress(slot, "127.0.0.5")
        driven.until(lambda: driven.of(0)[-1] > 0)


@alongside()
def test_two_raw_engines_do_not_take_each_others_answers() -> None:
    permission = permission_of("raw-batch")
    with (
        Driven("127.0.0.1", interval_ms=250, permission=permission) as one,
        Driven("127.0.0.1", interval_ms=250, permission=permission) as other,
    ):
        while min(len(one.of(0)), len(other.of(0))) < 5:
            one.tick()
            other.tick()
            time.sleep(0.005)
        for driven in (one, other):
            counters = driven.engine.counters()
            assert counters.foreign > 0
            assert counters.spoofed == counters.lost == counters.duplicate == 0


@pytest.mark.usefixtures("private")
def test_send_stamps_find_their_probes_although_every_other_slot_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("espfleet.probes.batch.REORDERED", 64)
    names = {f"bad{number}.test": None for number in range(40)}
    addresses = [address for number, name in enumerate(names) for address in (name, f"127.5.0.{number + 1}")]
    with Driven(*addresses, interval_ms=250, names=names) as driven:
        driven.rounds_of_each(8)
        link = link_of(driven)
        assert isinstance(link, BatchLink)
        counters = driven.engine.counters()
        assert counters.unstamped <= 4
        assert counters.lost == 0
        assert all(
            0 < value < 100_000 or value == NOT_MEASURED for index in range(1, 80, 2) for value in driven.of(index)
        )
        assert len(link._stretches) < 200, "what is past is forgotten"

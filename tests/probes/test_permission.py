from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from espfleet.errors import ProbeNotPermittedError
from espfleet.probes import mmsg
from espfleet.probes.permission import Permission, find_out
from espfleet.probes.sockets import Means
from espfleet.probes.wire import Family

BOTH_REFUSED = {
    (family, means): error for family in Family for means, error in ((Means.DGRAM, "EACCES"), (Means.RAW, "EPERM"))
}
REFUSED = Permission({}, batches=True, errors=BOTH_REFUSED, uid=1000, gid=1000, group_range="1 0")


def test_the_sentence_says_who_may_not_why_and_what_helps() -> None:
    python = os.path.realpath(sys.executable)
    assert REFUSED.fallback(2, 3) == (
        "ICMP is not permitted for uid=1000 gid=1000: ping socket: EACCES (net.ipv4.ping_group_range is "
        '"1 0"), raw socket: EPERM (no CAP_NET_RAW). Fix one of: sysctl -w net.ipv4.ping_group_range="0 2147483647"; '
        'docker run --sysctl net.ipv4.ping_group_range="0 2147483647" or --cap-add NET_RAW; '
        f"setcap cap_net_raw+ep {python}. "
        "Falling back to TCP connect for 2 targets with a port; 3 targets without a port are not measured."
    )
    assert REFUSED.fallback(0, 1).endswith("for 0 targets with a port; 1 target without a port is not measured.")


def test_what_may_not_be_done_can_be_required() -> None:
    assert not REFUSED.allowed
    with pytest.raises(ProbeNotPermittedError, match="uid=1000 gid=1000"):
        REFUSED.require()


def test_what_is_permitted_needs_no_sentence_of_complaint() -> None:
    allowed = Permission({Family.V4: Means.DGRAM}, batches=True, errors={(Family.V6, Means.RAW): "EAFNOSUPPORT"})
    allowed.require()
    assert allowed.allowed
    assert allowed.fallback(1, 1) == ""
    assert allowed.sentence == "ICMP is permitted: ping sockets for IPv4; many packets in one system call"
    assert allowed.why_not(Family.V6) == "this machine has no ICMP over IPv6: EAFNOSUPPORT"


@pytest.mark.root
@pytest.mark.usefixtures("private")
def test_ping_sockets_come_before_raw_ones() -> None:
    found = find_out()
    assert found.icmp == {Family.V4: Means.DGRAM, Family.V6: Means.DGRAM}
    assert found.group_range == "0 2147483647"
    assert found.errors == {}


def as_nobody(code: str) -> str:
    """Run code as an ordinary user; modules are loaded before, for that user may not be able to read them."""
    script = (
        "import os, sys\n"
        "from espfleet.probes.permission import find_out\n"
        "from tests.probes.driving import Driven\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n" + code
    )
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30, cwd=Path.cwd()
    ).stdout.strip()


@pytest.mark.root
def test_an_ordinary_user_without_permission_is_told_so() -> None:
    from bench.namespace import private_network

    with private_network(ping_sockets=False):
        said = as_nobody("print(find_out().fallback(1, 2))")
    assert said.startswith(
        'ICMP is not permitted for uid=65534 gid=65534: ping socket: EACCES (net.ipv4.ping_group_range is "1 0"), '
        "raw socket: EPERM (no CAP_NET_RAW). Fix one of: sysctl -w"
    )
    assert said.endswith(
        "Falling back to TCP connect for 1 target with a port; 2 targets without a port are not measured."
    )


@pytest.mark.root
@pytest.mark.usefixtures("private")
def test_an_ordinary_user_with_permission_measures() -> None:
    said = as_nobody(
        "with Driven('127.0.0.1', '::1', interval_ms=250) as driven:\n"
        "    driven.rounds_of_each(3)\n"
        "    print(min(driven.samples.values()) > 0, [engine.counters().lost for engine, _ in driven.engines])\n"
    )
    assert said == "True [0, 0]"


def test_batches_are_possible_on_this_linux() -> None:
    assert mmsg.available() == (sys.maxsize > 2**32 and sys.platform == "linux")


def test_without_the_calls_of_the_c_library_there_are_no_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mmsg, "_LIBC", None)
    assert not mmsg.available()

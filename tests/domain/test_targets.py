"""Targets and their addresses."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.targets import Address, ProbeKind, Target, new_target, parse_address
from espfleet.errors import InvalidError

ICMP, TCP, SIM = ProbeKind.ICMP, ProbeKind.TCP, ProbeKind.SIM


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", Address(kind=ICMP, host="192.0.2.1")),
        ("2001:db8::1", Address(kind=ICMP, host="2001:db8::1")),
        ("router.lan", Address(kind=ICMP, host="router.lan")),
        ("router.lan.", Address(kind=ICMP, host="router.lan.")),
        ("_gateway", Address(kind=ICMP, host="_gateway")),
        ("icmp://192.0.2.1", Address(kind=ICMP, host="192.0.2.1")),
        ("icmp://[2001:db8::1]/", Address(kind=ICMP, host="2001:db8::1")),
        ("icmp://192.0.2.1:443", Address(kind=ICMP, host="192.0.2.1", port=443)),
        ("ICMP://Router.lan", Address(kind=ICMP, host="router.lan")),
        ("tcp://example.com:443", Address(kind=TCP, host="example.com", port=443)),
        ("tcp://[::1]:80", Address(kind=TCP, host="::1", port=80)),
        ("sim://calm", Address(kind=SIM, host="calm")),
        ("sim://mixed?seed=7", Address(kind=SIM, host="mixed", seed=7)),
    ],
)
def test_an_address_says_how_and_where(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert new_target("t", text).address == text


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "a b",
        "a" * 64 + ".lan", "x" * 10_000, "1.2.3", "1.2.3.400", "12", "-a", "a..b", "a\x00b", "http://a",
        "tcp://a", "tcp://a:0", "tcp://a:70000", "tcp://a:b", "tcp://:80", "icmp://a:0", "icmp://", "icmp://u@a", "icmp://a/b",
        "icmp://a#b", "icmp://a?b=c", "icmp://[::1", "sim://", "sim://stormy", "sim://calm?seed=-1", "sim://calm?seed=x",
        "sim://calm?speed=1", "224.0.0.1", "0.0.0.0", "::", "ff02::1", "255.255.255.255",
        "fe80::1%eth0%", None, 5, b"a",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused_in_one_sentence(text: object) -> None:
    with pytest.raises(InvalidError) as refused:
        new_target("t", text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 200


@given(st.text(max_size=50))
def test_no_text_makes_the_parser_stumble(text: str) -> None:
    with contextlib.suppress(InvalidError):
        parse_address(text)


@pytest.mark.parametrize(("interval_ms", "timeout_ms"), [(10, 10), (3_600_000, 10_000), ("500", "250")])
def test_intervals_and_timeouts_have_a_range(interval_ms: object, timeout_ms: object) -> None:
    target = new_target("t", "192.0.2.1", interval_ms, timeout_ms)
    assert (target.interval_ms, target.timeout_ms) == (int(str(interval_ms)), int(str(timeout_ms)))


@pytest.mark.parametrize("bad", [0, 9, -1, 3_600_001, float("nan"), "soon", 10.5, None, True])
def test_other_intervals_are_refused(bad: object) -> None:
    with pytest.raises(InvalidError, match=r"^interval_ms must be"):
        new_target("t", "192.0.2.1", bad)


@pytest.mark.parametrize("bad", [0, 9, 10_001, float("inf")])
def test_other_timeouts_are_refused(bad: object) -> None:
    with pytest.raises(InvalidError, match=r"^timeout_ms must be"):
        new_target("t", "192.0.2.1", 1_000, bad)


def test_spaces_around_an_address_are_no_part_of_it() -> None:
    assert new_target("t", " 192.0.2.1\n").address == "192.0.2.1"


def test_a_target_survives_being_stored() -> None:
    target = new_target("t", "tcp://a:80", 250, 500, labels=["lab"])
    assert Target.from_dict({**target.to_dict(), "unheard": 1}) == target
    assert Target.from_dict({"name": "t", "address": "a"}) == Target(name="t", address="a")


def test_simulated_targets_say_so() -> None:
    assert new_target("t", "sim://calm").simulated
    assert new_target("t", "SIM://calm").simulated
    assert new_target("t", "127.0.0.1", labels=["simulated"]).simulated
    assert not new_target("t", "127.0.0.1").simulated

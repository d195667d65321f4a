from __future__ import annotations

import socket

import numpy as np
import pytest

from espfleet.probes.outcomes import Counters
from espfleet.probes.wire import HEAD, PACKET, Family, Identity, Judge, Requests, addresses_of
from tests.probes.tun import checksum


def test_a_packet_is_64_bytes_as_ping_sends() -> None:
    assert PACKET.itemsize == 64
    assert HEAD.itemsize == 24


@pytest.mark.parametrize("number", [0, 1, 77, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x1_0000_0005])
def test_raw_ipv4_packets_carry_the_right_checksum_in_every_round(number: int) -> None:
    requests = Requests(300, Identity.make(Family.V4, raw=True))
    requests.begin(number)
    for packet in requests.packets[::37]:
        data = packet.tobytes()
        assert data[2:4] == checksum(data[:2] + b"\0\0" + data[4:])
        assert int(packet["round"]) == number & 0xFFFFFFFF


@pytest.mark.parametrize(("family", "raw"), [(Family.V4, False), (Family.V6, False), (Family.V6, True)])
def test_other_packets_leave_the_checksum_to_the_kernel(family: Family, raw: bool) -> None:
    requests = Requests(3, Identity.make(family, raw=raw))
    requests.begin(1)
    assert requests.packets["checksum"].tolist() == [0, 0, 0]
    assert requests.packets["type"].tolist() == [8 if family is Family.V4 else 128] * 3


def test_two_identities_differ() -> None:
    one, other = (Identity.make(Family.V4, raw=True) for _ in range(2))
    assert one.token != other.token


def test_addresses_are_written_as_the_kernel_reads_them() -> None:
    v4 = addresses_of(Family.V4, ["127.0.0.1", "192.0.2.7"])
    assert v4[1].tobytes() == b"\x02\x00\x00\x00" + socket.inet_aton("192.0.2.7") + bytes(8)
    v6 = addresses_of(Family.V6, ["2001:db8::1", "fe80::1%lo"])
    assert v6[1]["scope"] == socket.if_nametoindex("lo")
    assert v6[0].tobytes()[8:24] == socket.inet_pton(socket.AF_INET6, "2001:db8::1")
    with pytest.raises(OSError):
        addresses_of(Family.V4, ["2001:db8::1"])
    with pytest.raises(OSError):
        addresses_of(Family.V6, ["fe80::1%nosuchdevice"])


def test_only_answers_with_our_mark_and_from_the_right_address_are_ours() -> None:
    identity = Identity(Family.V4, 0x1234, 99)
    counters = Counters()
    addresses = addresses_of(Family.V4, ["192.0.2.1", "192.0.2.2"])
    judge = Judge(identity, addresses, counters)
    heads = np.zeros(7, HEAD)
    heads["ident"], heads["token"] = 0x1234, 99
    heads["slot"] = [0, 1, 1, 1, 7, 0, 1]
    heads["type"][1] = 3
    heads["ident"][2] = 0x4321
    heads["token"][3] = 98
    lengths = np.array([64, 64, 64, 64, 64, 20, 64])
    sources = addresses_of(Family.V4, ["192.0.2.1", *["192.0.2.2"] * 3, "192.0.2.1", "192.0.2.1", "192.0.2.1"])
    assert judge.ours(heads, sources, lengths).tolist() == [True, *[False] * 6]
    # Foreign: an error and somebody else's answer; spoofed: wrong token, no such slot, cut short, wrong address.
    assert (counters.foreign, counters.spoofed) == (2, 4)


def test_an_icmp_error_is_believed_only_about_packets_we_sent() -> None:
    addresses = addresses_of(Family.V4, ["192.0.2.1", "192.0.2.2"])
    counters = Counters()
    judge = Judge(Identity(Family.V4, 5, 99), addresses, counters)
    second = addresses[1]["ip"].tolist()
    assert judge.failed((5, 1), 99, second) == [1]
    assert judge.failed((5, 1), None, second) == [1]
    assert judge.failed((5, 0), 99, second) == []
    assert judge.failed((5, 1), 98, second) == []
    assert judge.failed((6, 1), 99, second) == []
    assert counters.foreign == 2


def test_an_icmp_error_finds_its_slot_beyond_65536_targets() -> None:
    ips = [f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}" for number in range(70_000)]
    addresses = addresses_of(Family.V4, ips)
    judge = Judge(Identity(Family.V4, None, 99), addresses, Counters())
    assert judge.failed((1, 69_000 & 0xFFFF), None, addresses[69_000]["ip"].tolist()) == [69_000]

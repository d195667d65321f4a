"""ICMP packets and socket addresses as numpy structured arrays.

A structured array is a C array of structs: ``packets["round"]`` is the column of all ``round`` fields, so one
assignment writes a field of ten thousand packets, and the array's memory is what the kernel reads.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from espfleet.probes.outcomes import Counters

Ints = npt.NDArray[np.int64]
Counts = npt.NDArray[np.integer[Any]]
Bools = npt.NDArray[np.bool_]
#: A structured array; its fields are those of its dtype.
Table = npt.NDArray[np.void]


class Family(IntEnum):
    """Version of the internet protocol, by its socket constant."""

    V4 = socket.AF_INET
    V6 = socket.AF_INET6

    @property
    def spoken(self) -> str:
        """What people call it."""
        return "IPv4" if self is Family.V4 else "IPv6"


def family_of(ip: str) -> Family:
    """Return the family of an IP address."""
    return Family.V6 if ":" in ip else Family.V4


#: Type of (request, reply): RFC 792 and RFC 4443.
ECHO_TYPES = {Family.V4: (8, 0), Family.V6: (128, 129)}
#: What every packet begins with: 8 bytes of ICMP header, then ours.
HEAD = np.dtype(
    [
        ("type", "u1"),
        ("code", "u1"),
        ("checksum", "u2"),  # the kernel fills it in, except for raw IPv4 sockets
        ("ident", ">u2"),  # the kernel fills it in for datagram sockets
        ("sequence", ">u2"),  # low 16 bits of the slot: all that short ICMP errors quote
        ("token", "u8"),
        ("slot", "u4"),
        ("round", "u4"),
    ]
)
#: 64 bytes, as ping and fping send: 8 of header and 56 of data.
PACKET = np.dtype([*((name, HEAD.fields[name][0]) for name in HEAD.names or ()), ("padding", "V40")])  # type: ignore[index]
#: ``struct sockaddr_in`` and ``struct sockaddr_in6``; ``ip`` has the bytes of the address in one or two words.
SOCKADDRS = {
    Family.V4: np.dtype([("family", "u2"), ("port", ">u2"), ("ip", "u4", (1,)), ("zero", "u8")]),
    Family.V6: np.dtype([("family", "u2"), ("port", ">u2"), ("flow", "u4"), ("ip", "u8", (2,)), ("scope", "u4")]),
}


def addresses_of(family: Family, ips: Sequence[str]) -> Table:
    """Return the socket addresses of IP addresses (for IPv6 also of the form ``fe80::1%eth0``).

    Raises:
        OSError: If one is not of that family, or there is no such interface.
    """
    addresses = np.zeros(len(ips), SOCKADDRS[family])
    words = addresses["ip"]
    hosts = [ip.partition("%")[0] for ip in ips]
    packed = b"".join(socket.inet_pton(family, host) for host in hosts)
    words[:] = np.frombuffer(packed, words.dtype).reshape(words.shape)
    addresses["family"] = family
    if family is Family.V6:
        for row, (ip, host) in enumerate(zip(ips, hosts, strict=True)):
            if ip != host:
                addresses["scope"][row] = socket.if_nametoindex(ip[len(host) + 1 :])
    return addresses


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells our own packets from others'.

    Attributes:
        family: Version of the internet protocol.
        ident: Identifier in the ICMP header, or ``None`` where the kernel chooses it and sorts by it.
        token: Random, so that nobody can answer who has not seen the request.
    """

    family: Family
    ident: int | None
    token: int

    @classmethod
    def make(cls, family: Family, raw: bool) -> Identity:
        """Return an identity of its own."""
        return cls(family, secrets.randbits(16) if raw else None, secrets.randbits(64))


class Requests:
    """One prebuilt packet for each slot; only the round is written before a round is sent."""

    def __init__(self, slots: int, identity: Identity) -> None:
        self.packets = np.zeros(slots, PACKET)
        self.packets["type"] = ECHO_TYPES[identity.family][0]
        self.packets["ident"] = identity.ident or 0
        self.packets["slot"] = np.arange(slots)
        self.packets["sequence"] = np.arange(slots) & 0xFFFF
        self.packets["token"] = identity.token
        self._sums: npt.NDArray[np.uint32] | None = None
        if identity.ident is not None and identity.family is Family.V4:
            words = self.packets.view("u2").reshape(slots, PACKET.itemsize // 2)
            self._sums = words.sum(axis=1, dtype=np.uint32)

    def begin(self, number: int) -> None:
        """Write the number of a round into all packets."""
        self.packets["round"] = number & 0xFFFFFFFF
        if self._sums is not None:
            low, high = np.array([number & 0xFFFFFFFF], np.uint32).view(np.uint16).tolist()
            self.packets["checksum"] = _folded(self._sums + np.uint32(low + high))


def _folded(sums: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint16]:
    """Return the internet checksum (RFC 1071) of sums of 16-bit words; the order of bytes does not matter to it."""
    once = (sums >> 16) + (sums & 0xFFFF)
    return (~((once >> 16) + (once & 0xFFFF)) & 0xFFFF).astype(np.uint16)


class Judge:
    """Tells answers to our probes from everything else that a socket receives."""

    def __init__(self, identity: Identity, addresses: Table, counters: Counters) -> None:
        self._identity = identity
        self._reply = ECHO_TYPES[identity.family][1]
        self._addresses = addresses
        self._counters = counters

    def ours(self, heads: Table, sources: Table, lengths: Counts) -> Bools:
        """Return which messages answer a probe of ours; count the others as foreign or spoofed.

        Args:
            heads: Beginnings of the messages, of dtype ``HEAD`` or ``PACKET``.
            sources: Where they came from, one of ``SOCKADDRS``.
            lengths: Bytes of each message from its ICMP header on.
        """
        slots = heads["slot"]
        right: Bools = (heads["token"] == self._identity.token) & (heads["type"] == self._reply)
        right &= (slots < len(self._addresses)) & (lengths >= HEAD.itemsize)
        if self._identity.ident is not None:
            right &= heads["ident"] == self._identity.ident
        if right.all():
            right = self._from_target(sources, slots)
        else:
            right[right] = self._from_target(sources[right], slots[right])
        if not right.all():
            self._count(heads[~right], lengths[~right])
        return right

    def _from_target(self, sources: Table, slots: npt.NDArray[np.uint32]) -> Bools:
        same: Bools = (sources["ip"] == self._addresses["ip"][slots]).all(axis=1)
        return same

    def _count(self, heads: Table, lengths: Counts) -> None:
        """Count messages that are no answers to us: with our identifier they are spoofed, else somebody else's."""
        claimed = (heads["type"] == self._reply) & (lengths >= 8)
        if self._identity.ident is not None:
            claimed &= heads["ident"] == self._identity.ident
        spoofed = int(claimed.sum())
        self._counters.spoofed += spoofed
        self._counters.foreign += len(heads) - spoofed

    def failed(self, quote: Sequence[int], token: int | None, ip: Sequence[int]) -> list[int]:
        """Return the slots that an ICMP error may speak of.

        Args:
            quote: Identifier and sequence number of the packet it quotes.
            token: Token it quotes, or ``None`` where the quote is too short.
            ip: Words of the address that the packet was sent to.
        """
        ident, sequence = quote
        if self._identity.ident not in (None, ident) or token not in (None, self._identity.token):
            self._counters.foreign += 1
            return []
        words = self._addresses["ip"]
        return [slot for slot in range(sequence, len(words), 0x10000) if words[slot].tolist() == list(ip)]

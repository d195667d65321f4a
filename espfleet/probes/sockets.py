"""ICMP sockets and their options."""

from __future__ import annotations

import contextlib
import socket
import struct
from enum import StrEnum

from espfleet.probes.wire import ECHO_TYPES, Family

#: From linux/include/uapi/asm-generic/socket.h; the socket module does not have them.
SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS, SO_TIMESTAMPING, SO_MEMINFO = 32, 33, 35, 37, 55
#: Position of the drop counter among the words of SO_MEMINFO (linux/sock_diag.h).
MEMINFO_DROPS = 8
MEMINFO_WORDS = 9
#: From linux/net_tstamp.h: stamp sends and receipts in software, number the sends, return no payload with stamps.
TX_SOFTWARE, RX_SOFTWARE, SOFTWARE, OPT_ID, OPT_TSONLY = 1 << 1, 1 << 3, 1 << 4, 1 << 7, 1 << 11
STAMPING = TX_SOFTWARE | RX_SOFTWARE | SOFTWARE | OPT_ID | OPT_TSONLY
#: From linux/in.h and linux/in6.h: ICMP errors are queued with the packet they speak of.
IP_RECVERR, IPV6_RECVERR = 11, 25
#: From linux/icmp.h and linux/icmpv6.h: (level, option) of the filter of raw sockets.
ICMP_FILTER, ICMP6_FILTER = (255, 1), (socket.IPPROTO_ICMPV6, 1)
#: Asked for; an unprivileged process gets what net.core.rmem_max allows.
BUFFER_BYTES = 16 << 20
#: What the kernel charges for a queued answer or stamp (measured on Linux 6.18; 832 bytes).
QUEUED_BYTES = 832


class Means(StrEnum):
    """How ICMP is sent."""

    DGRAM = "dgram"
    RAW = "raw"

    @property
    def spoken(self) -> str:
        """What people call it."""
        return "ping sockets" if self is Means.DGRAM else "raw sockets"


def open_icmp(family: Family, means: Means) -> socket.socket:
    """Return a non-blocking ICMP socket that queues errors and, if raw, passes only replies.

    Raises:
        OSError: If the kernel does not let this process have one.
    """
    kind = socket.SOCK_DGRAM if means is Means.DGRAM else socket.SOCK_RAW
    protocol = socket.IPPROTO_ICMP if family is Family.V4 else socket.IPPROTO_ICMPV6
    sock = socket.socket(family, kind, protocol)
    sock.setblocking(False)
    with contextlib.suppress(OSError):  # a kernel without it: unreachable targets are lost ones
        if family is Family.V4:
            sock.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
    if means is Means.RAW:
        _pass_only_replies(sock, family)
    return sock


def _pass_only_replies(sock: socket.socket, family: Family) -> None:
    reply = ECHO_TYPES[family][1]
    if family is Family.V4:
        sock.setsockopt(*ICMP_FILTER, struct.pack("=I", ~(1 << reply) & 0xFFFFFFFF))
        return
    blocked = [0xFFFFFFFF] * 8
    blocked[reply // 32] &= ~(1 << reply % 32)
    sock.setsockopt(*ICMP6_FILTER, struct.pack("=8I", *blocked))


def grow_buffers(sock: socket.socket) -> int:
    """Ask for large buffers and return the bytes of the one for receiving, as the kernel counts them."""
    for forced, asked in ((SO_RCVBUFFORCE, socket.SO_RCVBUF), (SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, BUFFER_BYTES)
        except OSError:
            sock.setsockopt(socket.SOL_SOCKET, asked, BUFFER_BYTES)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def drops(sock: socket.socket) -> int:
    """Return how many messages the kernel dropped because the socket's buffer was full; 0 where it cannot say."""
    try:
        words = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * MEMINFO_WORDS)
    except OSError:  # older than Linux 4.12
        return 0
    return int.from_bytes(words[4 * MEMINFO_DROPS :], "little") if len(words) == 4 * MEMINFO_WORDS else 0

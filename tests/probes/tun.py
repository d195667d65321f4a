"""A network made by a thread: a TUN device whose other end answers echo requests and SYNs as the address asks for.

``10.99.P.x`` and ``fd99::P:x`` behave as number P of ``BEHAVIOURS`` says; x is free.
"""

from __future__ import annotations

import fcntl
import heapq
import itertools
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

#: From linux/if_tun.h.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
DEVICE = "eftun"
#: Flags of TCP.
SYN, ACK = 0x02, 0x10
ROUTER4, ROUTER6 = socket.inet_aton("10.99.0.254"), socket.inet_pton(socket.AF_INET6, "fd99::fffe")


def checksum(data: bytes) -> bytes:
    """Return the internet checksum (RFC 1071)."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return struct.pack("!H", ~((total >> 16) + total) & 0xFFFF)


#: (seconds to wait, packet) …
Answers = list[tuple[float, bytes]]


class Request:
    """An echo request or a SYN as it left; ``icmp`` is what follows the IP header."""

    def __init__(self, packet: bytes) -> None:
        self.packet = packet
        self.v6 = packet[0] >> 4 == 6
        if self.v6:
            self.source, self.target, self.icmp = packet[8:24], packet[24:40], packet[40:]
        else:
            self.source, self.target, self.icmp = packet[12:16], packet[16:20], packet[20:]

    @property
    def protocol(self) -> int:
        return self.packet[6] if self.v6 else self.packet[9]

    @property
    def asks(self) -> bool:
        """Whether it is an echo request or a SYN."""
        if self.protocol == socket.IPPROTO_TCP:
            return self.icmp[13] == SYN
        return self.icmp[0] == (128 if self.v6 else 8)

    @property
    def behaviour(self) -> int:
        return self.target[-3] if self.v6 else self.target[2]

    def reply(self, source: bytes | None = None, payload: bytes | None = None) -> bytes:
        if self.protocol == socket.IPPROTO_TCP:
            return self.accept()
        head = struct.pack("!BBH", 129 if self.v6 else 0, 0, 0)
        return self._packet(source or self.target, head + self.icmp[4:8] + (payload or self.icmp[8:]))

    def accept(self) -> bytes:
        """Return a SYN-ACK."""
        source_port, target_port, sequence = struct.unpack_from("!HHI", self.icmp)
        tcp = struct.pack(
            "!HHIIBBHHH", target_port, source_port, 1_000, sequence + 1 & 0xFFFFFFFF, 5 << 4, SYN | ACK, 65_535, 0, 0
        )
        pseudo = self.target + self.source + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(tcp))
        return self._packet(self.target, tcp[:16] + checksum(pseudo + tcp) + tcp[18:], socket.IPPROTO_TCP)

    def error(self, icmp_type: int, code: int, quoted: int) -> bytes:
        ip_bytes = 40 if self.v6 else 20
        body = struct.pack("!BBHI", icmp_type, code, 0, 0) + self.packet[: ip_bytes + quoted]
        return self._packet(ROUTER6 if self.v6 else ROUTER4, body)

    def _packet(self, source: bytes, icmp: bytes, protocol: int = socket.IPPROTO_ICMP) -> bytes:
        if self.v6:
            pseudo = source + self.source + struct.pack("!II", len(icmp), 58)
            icmp = icmp[:2] + checksum(pseudo + icmp) + icmp[4:]
            return struct.pack("!IHBB", 6 << 28, len(icmp), 58, 64) + source + self.source + icmp
        if protocol == socket.IPPROTO_ICMP:
            icmp = icmp[:2] + checksum(icmp) + icmp[4:]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(icmp), 0, 0, 64, protocol, 0) + source + self.source
        return head[:10] + checksum(head) + head[12:] + icmp


def _other_host(request: Request) -> bytes:
    return request.target[:-1] + bytes([request.target[-1] ^ 0x80])


def _wrong_token(request: Request) -> bytes:
    return bytes([request.icmp[8] ^ 1]) + request.icmp[9:]


BEHAVIOURS: dict[int, Callable[[Request], Answers]] = {
    1: lambda request: [(0.001, request.reply())],
    2: lambda request: [(0.020, request.reply())],
    3: lambda request: [],
    4: lambda request: [(0.001, request.error(1 if request.v6 else 3, 0 if request.v6 else 1, 64))],
    5: lambda request: [(0.001, request.error(1 if request.v6 else 3, 0 if request.v6 else 1, 8))],
    6: lambda request: [(0.001, request.reply()), (0.002, request.reply()), (0.030, request.reply())],
    7: lambda request: [(0.001, request.reply(source=_other_host(request)))],
    8: lambda request: [(0.001, request.reply(payload=_wrong_token(request)))],
    9: lambda request: [(0.600, request.reply())],
    10: lambda request: [(0.001, request.reply(payload=_wrong_token(request))), (0.010, request.reply())],
    11: lambda request: [(0.001, request.error(3 if request.v6 else 11, 0, 64))],
    12: lambda request: [(0.001, request.reply(payload=b"hi"))],
}


class Responder:
    """The other end of the device, while ``answering``."""

    def __init__(self) -> None:
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self._fd, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        for command in (
            f"link set {DEVICE} up",
            f"addr add 10.99.0.1/16 dev {DEVICE}",
            f"addr add fd99::1/64 dev {DEVICE} nodad",
        ):
            subprocess.run(["ip", *command.split()], check=True)
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._run, name="tun")
        self.requests = 0
        self.behaviours = dict(BEHAVIOURS)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            os.write(self._stop_writer, b"x")
            self._thread.join(30)
        for fd in (self._fd, self._stop_reader, self._stop_writer):
            os.close(fd)

    def _run(self) -> None:
        waiting: list[tuple[float, int, bytes]] = []
        numbers = itertools.count()
        while True:
            timeout_s = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
            readable, _, _ = select.select([self._fd, self._stop_reader], [], [], timeout_s)
            if self._stop_reader in readable:
                return
            for packet in self._packets() if readable else ():
                request = Request(packet)
                if not request.asks:
                    continue
                self.requests += 1
                for delay_s, answer in self.behaviours[request.behaviour](request):
                    heapq.heappush(waiting, (time.monotonic() + delay_s, next(numbers), answer))
            while waiting and waiting[0][0] <= time.monotonic():
                os.write(self._fd, heapq.heappop(waiting)[2])

    def _packets(self) -> Iterator[bytes]:
        try:
            while True:
                yield os.read(self._fd, 2048)
        except BlockingIOError:
            return


@contextmanager
def responder(*, answering: bool = True) -> Iterator[Responder]:
    """Make the device in the present network namespace; ``answering=False`` never reads from it."""
    made = Responder()
    try:
        if answering:
            made.start()
        yield made
    finally:
        made.close()

"""TCP connects: the round trip is the kernel's own measurement of the handshake, so it does not matter when we look."""

from __future__ import annotations

import errno
import resource
import select
import socket
import struct
import sys
from collections.abc import Sequence
from typing import NamedTuple

from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE
from espfleet.probes.clocks import SYSTEM, Clocks
from espfleet.probes.ledger import SHORTEST_US
from espfleet.probes.links import NO_ROOM, NO_WAY
from espfleet.probes.outcomes import Endpoint
from espfleet.probes.paced import LONG_AGO_NS, PacedEngine
from espfleet.probes.wire import family_of

#: From linux/tcp.h: where ``struct tcp_info`` holds tcpi_rtt (microseconds) and tcpi_total_retrans.
TCP_INFO_BYTES = 104
TCPI_RTT, TCPI_TOTAL_RETRANS = 68, 100
#: Close with a reset at once: nothing stays in TIME_WAIT, and nobody is kept waiting.
LINGER_NONE = struct.pack("ii", 1, 0)
#: Ends of an attempt that prove the host alive: connected, refused, or connected and thrown out.
ANSWERS = frozenset({0, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE})
#: Most connections being made at once, and the share of this process's descriptors that they may take.
IN_FLIGHT = 4_096
DESCRIPTORS_SHARE = 2


class _Attempt(NamedTuple):
    """A connection that is being made."""

    sock: socket.socket
    position: int
    begun_ns: int


class TcpEngine(PacedEngine):
    """Probes endpoints by connecting to their ports.

    Args:
        endpoints: What is probed, in the order of sending; at least one; each address has a port.
        interval_ms: Length of a round.
        ips: Addresses of the endpoints, of either family; ``None`` where a name has none.
        origin_ns: When round 0 began, monotonic; ``None`` for now.
        clocks: Where times come from.
        in_flight: Most connections being made at once; further ones wait.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        interval_ms: int,
        ips: Sequence[str | None],
        *,
        origin_ns: int | None = None,
        clocks: Clocks = SYSTEM,
        in_flight: int = IN_FLIGHT,
    ) -> None:
        super().__init__(endpoints, interval_ms, ips, origin_ns=origin_ns, clocks=clocks)
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._bound = min(in_flight, descriptors // DESCRIPTORS_SHARE)
        self._attempts: dict[int, _Attempt] = {}  # by descriptor
        self._descriptors: dict[int, int] = {}  # by position
        self._poll = select.epoll()

    def filenos(self) -> Sequence[int]:
        """Return the descriptor that is readable while a connection has come to an end."""
        return (self._poll.fileno(),)

    def close(self) -> None:
        """Give up all connections."""
        for descriptor in list(self._attempts):
            self._drop(descriptor)
        self._poll.close()

    def _collect(self, now_ns: int) -> None:
        self._check_clock()
        self._finish()
        for position in self._ledger.expire(now_ns, LONG_AGO_NS).tolist():
            self._drop(self._descriptors[position])

    def _finish(self) -> None:
        """Settle what has been connected or refused."""
        for descriptor, _ in self._poll.poll(0, max(1, len(self._attempts))):
            attempt = self._attempts[descriptor]
            error = attempt.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._settle(attempt, error)
            self._drop(descriptor)

    def _send(self, first: int, last: int, now_ns: int) -> bool:
        for slot in range(first, last):
            if len(self._attempts) >= self._bound:
                return False
            self._connect(slot, now_ns)
        self._finish()
        return True

    def _connect(self, slot: int, now_ns: int) -> None:
        ip = self._ips[slot] or ""
        position = self._ledger.head
        try:
            sock = socket.socket(family_of(ip), socket.SOCK_STREAM)
        except OSError as failure:
            self._refuse(failure.errno or errno.EIO, now_ns)
            return
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
        begun_ns = self._clocks.monotonic_ns()
        error = sock.connect_ex((ip, self.endpoints[slot].address.port))
        if error not in (0, errno.EINPROGRESS, errno.ECONNREFUSED):
            sock.close()
            self._refuse(error, now_ns)
            return
        self._ledger.sent(1, 0, 0, begun_ns)
        attempt = _Attempt(sock, position, begun_ns)
        if error != errno.EINPROGRESS:
            self._settle(attempt, error)
            sock.close()
            return
        self._attempts[sock.fileno()] = attempt
        self._descriptors[position] = sock.fileno()
        self._poll.register(sock, select.EPOLLOUT)

    def _refuse(self, error: int, now_ns: int) -> None:
        """Settle the next probe, which the kernel does not even begin."""
        if error in NO_WAY:
            self._totals.unreachable += 1
            self._decide(UNREACHABLE, 1, now_ns)
        else:
            self._totals.local_drops += error in NO_ROOM
            self._decide(NOT_MEASURED, 1, now_ns)

    def _settle(self, attempt: _Attempt, error: int) -> None:
        """Give a probe its sample, now that its connection is made or has failed."""
        slot = attempt.position % self.pace.slots
        waited_us = (self._clocks.monotonic_ns() - attempt.begun_ns) / 1_000
        value = LOST
        if error in ANSWERS:
            self._totals.refused += error == errno.ECONNREFUSED
            value = self._round_trip_us(attempt.sock, waited_us)
        elif error in NO_WAY:
            value = UNREACHABLE
        elif error != errno.ETIMEDOUT:
            value = NOT_MEASURED
        if value > self.endpoints[slot].timeout_ms * 1_000:
            self._totals.late += 1
            value = LOST
        self._count(value)
        self._ledger.settle(attempt.position, value)

    def _count(self, value: float) -> None:
        totals = self._totals
        totals.received += value >= 0
        totals.lost += value != value
        totals.unreachable += value == UNREACHABLE
        totals.not_measured += value == NOT_MEASURED

    def _drop(self, descriptor: int) -> None:
        attempt = self._attempts.pop(descriptor)
        del self._descriptors[attempt.position]
        self._poll.unregister(descriptor)
        attempt.sock.close()

    def _round_trip_us(self, sock: socket.socket, waited_us: float) -> float:
        """Return what the kernel measured for the handshake, else what was waited; ``LOST`` if anything was resent."""
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES).ljust(TCP_INFO_BYTES, b"\0")
        if int.from_bytes(info[TCPI_TOTAL_RETRANS : TCPI_TOTAL_RETRANS + 4], sys.byteorder):
            return LOST
        rtt_us = int.from_bytes(info[TCPI_RTT : TCPI_RTT + 4], sys.byteorder)
        self._totals.unstamped += not rtt_us
        return float(rtt_us) or max(waited_us, SHORTEST_US)

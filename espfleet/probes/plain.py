"""The plain link: one system call a packet, with nothing but the standard library.

For machines whose C library or container does not offer recvmmsg and sendmmsg. Answers are stamped by the kernel
where it can, sends by the process.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Iterator

import numpy as np

from espfleet.probes.clocks import Clocks
from espfleet.probes.ledger import Ledger
from espfleet.probes.links import says_unreachable
from espfleet.probes.mmsg import MSG_ERRQUEUE, STALE_ERRORS
from espfleet.probes.outcomes import Counters
from espfleet.probes.sockets import IP_RECVERR, IPV6_RECVERR, QUEUED_BYTES, SO_TIMESTAMPNS, grow_buffers
from espfleet.probes.wire import HEAD, Family, Identity, Judge, Requests, Table, addresses_of

#: Room for a message: 20 bytes of IPv4 header (raw sockets) and our 64, with some to spare.
MESSAGE_BYTES = 128
#: Room for a time and for an ICMP error with the address of who reported it.
CONTROL_BYTES = 256
#: Most messages read in one pull, so that a flood cannot hold up the loop.
MESSAGES_PER_PULL = 1_024
TIMESPEC = struct.Struct("@qq")

Message = tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int]]


class PlainLink:
    """An ICMP socket driven through ``sendto`` and ``recvmsg``; arguments as those of ``BatchLink``."""

    def __init__(
        self, sock: socket.socket, identity: Identity, addresses: Table, counters: Counters, clocks: Clocks
    ) -> None:
        self.sock = sock
        self.burst = min(max(grow_buffers(sock) // (4 * QUEUED_BYTES), 32), 256)
        self._family = identity.family
        self._skip = 20 if identity.ident is not None and identity.family is Family.V4 else 0
        self._addresses = addresses
        self._names = [_name(row, identity.family) for row in addresses]
        self._requests = Requests(len(addresses), identity)
        self._judge = Judge(identity, addresses, counters)
        self._counters = counters
        self._clocks = clocks
        self._answers: list[tuple[bytes, int, str]] = []
        self._errors: list[Message] = []
        with contextlib.suppress(OSError):  # then the clock of the process has to do
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def begin(self, number: int) -> None:
        """Write the number of a round into all packets."""
        self._requests.begin(number)

    def send(self, first: int, count: int, ledger: Ledger) -> tuple[int, int]:
        """Send probes as the ledger's next positions, up to the first that fails; return how many left, or an errno."""
        for sent, slot in enumerate(range(first, first + count)):
            error = self._send_one(slot, ledger)
            if error:
                return (sent, 0) if sent else (0, error)
        return count, 0

    def _send_one(self, slot: int, ledger: Ledger) -> int:
        packet = self._requests.packets[slot].tobytes()
        error = 0
        for _ in range(STALE_ERRORS):
            left_ns = self._clocks.realtime_ns()
            try:
                self.sock.sendto(packet, self._names[slot])
            except OSError as failure:
                error = failure.errno or errno.EIO
                continue
            ledger.sent(1, left_ns, left_ns, self._clocks.monotonic_ns())
            return 0
        return error

    def pull(self) -> bool:
        """Take what has come from the kernel; say whether it should be digested soon for want of room."""
        for data, ancillary, _, name in self._messages(0):
            came_ns = self._clocks.realtime_ns()
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS and len(value) == TIMESPEC.size:
                    seconds, nanoseconds = TIMESPEC.unpack(value)
                    came_ns = seconds * 1_000_000_000 + nanoseconds
            self._answers.append((data, came_ns, name[0]))
        self._errors.extend(self._messages(MSG_ERRQUEUE))
        return len(self._answers) + len(self._errors) > MESSAGES_PER_PULL

    @property
    def pulled(self) -> bool:
        """Whether something waits to be digested."""
        return bool(self._answers or self._errors)

    def digest(self, ledger: Ledger) -> None:
        """Tell the ledger what was pulled."""
        answers, self._answers = self._answers, []
        errors, self._errors = self._errors, []
        for message in errors:
            self._digest_error(ledger, message)
        if not answers:
            return
        bodies = [data[self._skip :] for data, _, _ in answers]
        heads = np.frombuffer(b"".join(body[: HEAD.itemsize].ljust(HEAD.itemsize, b"\0") for body in bodies), HEAD)
        lengths = np.array([len(body) for body in bodies], np.int64)
        sources = addresses_of(self._family, [ip for _, _, ip in answers])
        ours = self._judge.ours(heads, sources, lengths)
        positions = heads["round"].astype(np.int64) * ledger.slots + heads["slot"]
        came_ns = np.array([came_ns for _, came_ns, _ in answers], np.int64)
        if ours.any():
            ledger.answer(positions[ours], came_ns[ours])

    def point(self, slot: int, ip: str) -> None:
        """Send to another address from now on."""
        self._addresses[slot] = addresses_of(self._family, [ip])[0]
        self._names[slot] = _name(self._addresses[slot], self._family)

    def _messages(self, flags: int) -> Iterator[Message]:
        failures = 0
        for _ in range(MESSAGES_PER_PULL):
            try:
                yield self.sock.recvmsg(MESSAGE_BYTES, CONTROL_BYTES, flags)
            except BlockingIOError:
                return
            except OSError:  # an ICMP error of an earlier probe; the error queue has it
                failures += 1
                if failures == STALE_ERRORS:
                    return

    def _digest_error(self, ledger: Ledger, message: Message) -> None:
        data, ancillary, _, name = message
        for level, kind, value in ancillary:
            if (level, kind) not in ((socket.IPPROTO_IP, IP_RECVERR), (socket.IPPROTO_IPV6, IPV6_RECVERR)):
                continue
            if not says_unreachable(value[4], value[5], value[6]) or len(data) < 8:
                continue
            quoted = np.frombuffer(data[: HEAD.itemsize].ljust(HEAD.itemsize, b"\0"), HEAD)[0]
            whole = len(data) >= HEAD.itemsize
            sent_to = addresses_of(self._family, [name[0]])[0]["ip"].tolist()
            token = int(quoted["token"]) if whole else None
            for slot in self._judge.failed((int(quoted["ident"]), int(quoted["sequence"])), token, sent_to):
                number = int(quoted["round"]) if whole else None
                ledger.unreachable(slot, number)


def _name(address: np.void, family: Family) -> tuple[str, int] | tuple[str, int, int, int]:
    """Return a socket address as Python's sockets take it."""
    ip = socket.inet_ntop(family, address["ip"].tobytes())
    return (ip, 0) if family is Family.V4 else (ip, 0, 0, int(address["scope"]))

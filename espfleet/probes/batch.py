"""The fast link: batches of packets through sendmmsg and recvmmsg, stamped by the kernel on both ways.

Since the kernel notes when each probe left and when its answer came, nobody has to be woken for an answer: it may
wait in the socket, and then in an arena, until the next tick. Two queues are read: messages, and the error queue,
which holds send stamps and ICMP errors.
"""

from __future__ import annotations

import logging
import socket
from collections import deque

import numpy as np

from espfleet.probes.clocks import Clocks
from espfleet.probes.ledger import Ledger
from espfleet.probes.links import ORIGIN_STAMP, says_unreachable
from espfleet.probes.mmsg import MSG_ERRQUEUE, REPORT, STAMP, Arena, Outbox
from espfleet.probes.outcomes import Counters
from espfleet.probes.sockets import QUEUED_BYTES, SO_TIMESTAMPING, STAMPING, grow_buffers
from espfleet.probes.wire import (
    HEAD,
    PACKET,
    SOCKADDRS,
    Counts,
    Family,
    Identity,
    Ints,
    Judge,
    Requests,
    Table,
    addresses_of,
)

logger = logging.getLogger(__name__)

#: Most messages in one system call and between two readings of the socket: more gain nothing (measured).
BURST = 256
#: Rows of the arenas: for few targets a few, for many this, beyond which parsing gains nothing more.
ARENA_ROWS = (128, 4096)
#: Stamps come in the order of sends, but for those of neighbours that left by different queues of a device.
REORDERED = 1_024
#: Level and type of a stamp: SOL_SOCKET and SCM_TIMESTAMPING, which has the number of the option.
STAMP_KIND = socket.SOL_SOCKET | SO_TIMESTAMPING << 32
#: First byte of an IPv4 packet whose header has 20 bytes.
PLAIN_IP = 0x45
#: A socket whose numbering is out of step is numbered anew, at most this often.
RENUMBER_NS = 1_000_000_000


class BatchLink:
    """An ICMP socket driven through recvmmsg and sendmmsg.

    Args:
        sock: Of a family and kind that fits ``identity``; belongs to the link's owner.
        identity: What marks our packets.
        addresses: Socket addresses of the slots.
        counters: Where it counts what is not ours.
        clocks: For times that the kernel does not tell.
    """

    def __init__(
        self, sock: socket.socket, identity: Identity, addresses: Table, counters: Counters, clocks: Clocks
    ) -> None:
        self.sock = sock
        # Half the buffer for answers and stamps of one burst; the other half for what comes late.
        self.burst = min(max(grow_buffers(sock) // (4 * QUEUED_BYTES), 32), BURST)
        self._family = identity.family
        # Raw IPv4 sockets pass the IP header on.
        self._skip = 20 if identity.ident is not None and identity.family is Family.V4 else 0
        self._addresses = addresses
        self._requests = Requests(len(addresses), identity)
        self._judge = Judge(identity, addresses, counters)
        self._counters = counters
        self._clocks = clocks
        self._outbox = Outbox(sock.fileno(), self._requests.packets, addresses)
        rows = min(max(ARENA_ROWS[0], 4 * len(addresses)), ARENA_ROWS[1])
        name, room = SOCKADDRS[self._family], self._skip + PACKET.itemsize
        self._inbox = Arena(sock.fileno(), rows, room, name, STAMP)
        self._errors = Arena(sock.fileno(), rows, room, name, REPORT, MSG_ERRQUEUE)
        self._pulled_ns = np.zeros(rows, np.int64)
        # The kernel numbers the sends it accepts. Positions rise with these numbers, but for those that were not
        # sent: (number, position - number) of each stretch without a gap, the newest last.
        self._accepted = 0
        self._stretches: deque[tuple[int, int]] = deque()
        self._renumbered_ns = clocks.monotonic_ns() - RENUMBER_NS
        self.stamping = self._stamp()

    def begin(self, number: int) -> None:
        """Write the number of a round into all packets."""
        self._requests.begin(number)

    def send(self, first: int, count: int, ledger: Ledger) -> tuple[int, int]:
        """Send probes as the ledger's next positions; return how many left, or 0 and an errno."""
        begun_ns = self._clocks.realtime_ns()
        sent, error = self._outbox.send(first, count)
        if sent:
            self._remember(ledger.head, sent)
            ended_ns = begun_ns if self.stamping else self._clocks.realtime_ns()
            ledger.sent(sent, begun_ns, ended_ns, self._clocks.monotonic_ns())
        return sent, error

    def pull(self) -> bool:
        """Take what has come from the kernel; say whether it should be digested soon for want of room."""
        low = self._inbox.fill
        self._inbox.pull()
        self._pulled_ns[low : self._inbox.fill] = self._clocks.realtime_ns()
        self._errors.pull()
        return 2 * max(self._inbox.fill, self._errors.fill) > self._inbox.rows

    @property
    def pulled(self) -> bool:
        """Whether something waits to be digested."""
        return self._inbox.fill > 0 or self._errors.fill > 0

    def digest(self, ledger: Ledger) -> None:
        """Tell the ledger what was pulled: stamps before the answers that need them."""
        if self._errors.fill:
            self._digest_errors(ledger)
        if self._inbox.fill:
            self._digest_answers(ledger)

    def point(self, slot: int, ip: str) -> None:
        """Send to another address from now on."""
        self._addresses[slot] = addresses_of(self._family, [ip])[0]

    def _stamp(self) -> bool:
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)
            self.sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, STAMPING)
        except OSError as error:
            logger.warning("the kernel stamps no packets (%s): round trips rest on the clock of the process", error)
            return False
        return True

    def _remember(self, position: int, count: int) -> None:
        """Note which positions the next send stamps speak of."""
        offset = position - self._accepted
        if not self._stretches or self._stretches[-1][1] != offset:
            self._stretches.append((self._accepted, offset))
        self._accepted += count

    def _positions(self, numbers: Ints) -> Ints:
        """Return the positions of accepted sends."""
        first = int(numbers.min())
        if first >= self._stretches[-1][0]:
            return numbers + self._stretches[-1][1]
        while len(self._stretches) > 1 and self._stretches[1][0] <= first - REORDERED:
            self._stretches.popleft()
        starts, offsets = np.array(self._stretches).T
        found: Ints = numbers + offsets[np.maximum(np.searchsorted(starts, numbers, side="right") - 1, 0)]
        return found

    def _digest_answers(self, ledger: Ledger) -> None:
        inbox, skip = self._inbox, self._skip
        count = inbox.fill
        heads = np.ndarray(count, HEAD, inbox.data, skip, (inbox.data.strides[0],))
        sources = inbox.names[:count]
        lengths: Counts = inbox.lengths()
        if skip:
            lengths = lengths.astype(np.int64) - skip
            lengths[inbox.data[:count, 0] != PLAIN_IP] = 0
        control = inbox.control[:count]
        came_ns = control["seconds"] * 1_000_000_000 + control["nanoseconds"]
        stamped = inbox.controls() == STAMP.itemsize
        if not stamped.all():
            self._counters.unstamped += int(count - stamped.sum())
            came_ns = np.where(stamped, came_ns, self._pulled_ns[:count])
        ours = self._judge.ours(heads, sources, lengths)
        positions = heads["round"].astype(np.int64) * ledger.slots + heads["slot"]
        if not ours.all():
            positions, came_ns = positions[ours], came_ns[ours]
        if len(positions):
            ledger.answer(positions, came_ns)
        inbox.clear()

    def _digest_errors(self, ledger: Ledger) -> None:
        errors = self._errors
        control = errors.control[: errors.fill]
        stamped = control["kind"] == STAMP_KIND
        stamps = stamped & (control["report"] == ORIGIN_STAMP)
        if stamps.all():
            self._digest_stamps(ledger, control)
        else:
            self._digest_stamps(ledger, control[stamps])
            for row in np.flatnonzero(~stamps).tolist():
                self._digest_error(ledger, row, bool(stamped[row]))
        errors.clear()

    def _digest_stamps(self, ledger: Ledger, control: Table) -> None:
        # How many sends ago, less one; the kernel's number has 32 bits and begins anew.
        ages = np.uint32((self._accepted - 1) & 0xFFFFFFFF) - control["data"]
        left_ns = control["seconds"] * 1_000_000_000 + control["nanoseconds"]
        known = ages < min(self._accepted, ledger.size)
        if not known.all():
            if self._renumber():
                # Those that look right are likely to speak of other sends.
                return
            ages, left_ns = ages[known], left_ns[known]
        if len(ages):
            ledger.stamp(self._positions(self._accepted - 1 - ages.astype(np.int64)), left_ns)

    def _renumber(self) -> bool:
        """Begin numbering sends anew, for the kernel has counted one that it told us had failed; say whether we did."""
        now_ns = self._clocks.monotonic_ns()
        if now_ns - self._renumbered_ns < RENUMBER_NS:
            return False
        self._renumbered_ns = now_ns
        self._accepted = 0
        self._stretches.clear()
        self._stamp()
        return True

    def _digest_error(self, ledger: Ledger, row: int, stamped: bool) -> None:
        """Take over an ICMP error, which may or may not come with a stamp before it."""
        errors = self._errors
        length = int(errors.lengths()[row])
        control = errors.control[row : row + 1].view(np.uint8)[STAMP.itemsize if stamped else 0 :]
        origin, icmp_type, icmp_code = control[20:23].tolist()
        if not says_unreachable(origin, icmp_type, icmp_code) or length < 8:
            return
        quoted = errors.data[row, : HEAD.itemsize].view(HEAD)[0]
        sent_to = errors.names[row]["ip"].tolist()
        whole = length >= HEAD.itemsize
        token = int(quoted["token"]) if whole else None
        number = int(quoted["round"]) if whole else None
        for slot in self._judge.failed((int(quoted["ident"]), int(quoted["sequence"])), token, sent_to):
            ledger.unreachable(slot, number)

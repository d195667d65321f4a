"""Echo requests to many targets: one socket per family, woken by ticks, timed by the kernel."""

from __future__ import annotations

import errno
from collections.abc import Sequence

from espfleet.domain.samples import NOT_MEASURED, UNREACHABLE
from espfleet.probes.batch import BatchLink
from espfleet.probes.clocks import SYSTEM, Clocks
from espfleet.probes.links import NO_ROOM, NO_WAY, Link
from espfleet.probes.outcomes import Endpoint
from espfleet.probes.paced import LONG_AGO_NS, WAKING_STEP_NS, PacedEngine
from espfleet.probes.permission import Permission
from espfleet.probes.plain import PlainLink
from espfleet.probes.sockets import Means, drops, open_icmp
from espfleet.probes.wire import Family, Identity, addresses_of

#: Answers wait in the socket for up to this long and a tick, for taking them in costs by the call; lamps wait for it.
COLLECT_NS = 15_000_000
#: Time-outs are noticed up to this much and a tick late.
EXPIRE_NS = 35_000_000
#: Where a slot without an address points to; nothing is sent there.
NOWHERE = {Family.V4: "0.0.0.0", Family.V6: "::"}


class IcmpEngine(PacedEngine):
    """Probes endpoints of one family by echo requests.

    Args:
        endpoints: What is probed, in the order of sending; at least one.
        interval_ms: Length of a round.
        ips: Addresses of the endpoints; ``None`` where a name has none.
        family: Version of the internet protocol.
        permission: What this process may do; it must have means for the family.
        origin_ns: When round 0 began, monotonic; ``None`` for now.
        clocks: Where times come from.

    Raises:
        OSError: If the kernel gives no socket.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        interval_ms: int,
        ips: Sequence[str | None],
        family: Family,
        permission: Permission,
        *,
        origin_ns: int | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        super().__init__(endpoints, interval_ms, ips, origin_ns=origin_ns, clocks=clocks)
        means = permission.icmp[family]
        identity = Identity.make(family, raw=means is Means.RAW)
        addresses = addresses_of(family, [ip or NOWHERE[family] for ip in ips])
        sock = open_icmp(family, means)
        link_class = BatchLink if permission.batches else PlainLink
        self._link: Link = link_class(sock, identity, addresses, self._totals, clocks)
        self._drops = drops(sock)
        self._dropped_ns = LONG_AGO_NS
        self._collected_ns = LONG_AGO_NS
        self._expired_ns = LONG_AGO_NS
        # Probes sent since the socket was read: their answers and stamps must find room in it.
        self._unread = 0
        self._wakes = self.pace.step_ns(1) >= WAKING_STEP_NS

    def filenos(self) -> Sequence[int]:
        """Return the socket while probes are few; many are cheaper to collect by ticks."""
        return (self._link.sock.fileno(),) if self._wakes else ()

    def close(self) -> None:
        """Give back the socket."""
        self._link.sock.close()

    def _begin(self, number: int) -> None:
        if number != self._open:
            self._link.begin(number)
        super()._begin(number)

    def _point(self, slot: int, ip: str) -> bool:
        try:
            self._link.point(slot, ip)
        except OSError:  # of the other family
            return False
        # An answer from the old address would look spoofed.
        self._ledger.forget(slot)
        return super()._point(slot, ip)

    def _collect(self, now_ns: int) -> None:
        if self._wakes or now_ns - self._collected_ns >= COLLECT_NS:
            self._link.pull()
            self._digest()
            self._collected_ns = now_ns
            if self._wakes or now_ns - self._expired_ns >= EXPIRE_NS:
                # Everything that came until now_ns was taken in; so what is missing is missing.
                self._ledger.expire(now_ns, self._dropped_ns)
                self._expired_ns = now_ns
            self._unread = 0

    def _digest(self) -> None:
        # Looked at after pulling: what was pulled then bears stamps of the old clock or is given up.
        if self._check_clock():
            self._ledger.void()
        dropped = drops(self._link.sock)
        if dropped != self._drops:
            self._totals.local_drops += (dropped - self._drops) & 0xFFFFFFFF
            self._drops = dropped
            self._dropped_ns = self._clocks.monotonic_ns()
        if self._link.pulled:
            self._link.digest(self._ledger)

    def _send(self, first: int, last: int, now_ns: int) -> bool:
        link = self._link
        while first < last:
            sent, error = link.send(first, min(last - first, link.burst), self._ledger)
            if error == errno.EAGAIN:
                return False
            if error:
                self._give_up(error, now_ns)
            first += sent or 1
            self._unread += sent
            if self._unread >= link.burst:
                self._unread = 0
                if link.pull():
                    self._digest()
        if self._wakes:
            # What is here by now (send stamps always are) need not wake anybody.
            link.pull()
            self._digest()
        return True

    def _give_up(self, error: int, now_ns: int) -> None:
        """Settle the next probe, which the kernel refuses to send."""
        if error in NO_WAY:
            self._totals.unreachable += 1
            self._decide(UNREACHABLE, 1, now_ns)
        else:
            self._totals.local_drops += error in NO_ROOM
            self._decide(NOT_MEASURED, 1, now_ns)

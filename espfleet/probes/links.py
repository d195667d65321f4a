"""How an ICMP engine sends and receives: what both ways of doing it have in common."""

from __future__ import annotations

import errno
import socket
from typing import Protocol

from espfleet.probes.ledger import Ledger

#: Errors of sending that mean that the network is not there. A lamp shall show this as an outage.
NO_WAY = frozenset(
    {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EADDRNOTAVAIL, errno.ENODEV}
)
#: Errors of sending that mean that this machine has no room.
NO_ROOM = frozenset({errno.ENOBUFS, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
#: From linux/errqueue.h: who speaks in the error queue.
ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_STAMP = 2, 3, 4


class Link(Protocol):
    """One ICMP socket with its packets.

    Attributes:
        sock: The socket.
        burst: Probes that may be sent before ``pull`` is due, so that no answer is dropped.
    """

    sock: socket.socket
    burst: int

    def begin(self, number: int) -> None:
        """Write the number of a round into all packets."""

    def send(self, first: int, count: int, ledger: Ledger) -> tuple[int, int]:
        """Send the probes of some slots as the ledger's next positions; return how many left, or 0 and an errno."""

    def pull(self) -> bool:
        """Take what has come from the kernel; say whether it should be digested soon for want of room."""

    @property
    def pulled(self) -> bool:
        """Whether something waits to be digested."""

    def digest(self, ledger: Ledger) -> None:
        """Tell the ledger what was pulled."""

    def point(self, slot: int, ip: str) -> None:
        """Send to another address from now on."""


def says_unreachable(origin: int, icmp_type: int, icmp_code: int) -> bool:
    """Return whether an entry of the error queue says that a probe cannot be delivered.

    Those are: destination unreachable, but not "fragmentation needed", and time exceeded (RFC 792, RFC 4443).
    """
    if origin == ORIGIN_ICMP:
        return (icmp_type == 3 and icmp_code != 4) or icmp_type == 11
    return origin == ORIGIN_ICMP6 and icmp_type in (1, 3)

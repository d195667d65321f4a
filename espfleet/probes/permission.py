"""What this machine lets this process do, found out once at the start."""

from __future__ import annotations

import errno
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path

from espfleet.errors import ProbeNotPermittedError
from espfleet.probes import mmsg
from espfleet.probes.sockets import Means, open_icmp
from espfleet.probes.wire import Family

#: Groups that may open datagram ICMP sockets, of either family.
PING_GROUP_RANGE = Path("/proc/sys/net/ipv4/ping_group_range")
#: Every group.
EVERYONE = "0 2147483647"
#: What the kernel answers when a process has not the right to open a socket.
NOT_PERMITTED = frozenset({"EPERM", "EACCES"})


@dataclass(frozen=True, slots=True)
class Permission:
    """How ICMP may be sent here.

    Attributes:
        icmp: The means for each family; absent where there is none.
        batches: Whether many packets may be sent in one system call.
        errors: Names of the errors that opening a socket gave, such as ``EPERM``, by family and means.
        uid, gid: Of this process.
        group_range: What net.ipv4.ping_group_range says, such as ``1 0`` (nobody), or ``""`` if unknown.
    """

    icmp: dict[Family, Means]
    batches: bool
    errors: dict[tuple[Family, Means], str] = field(default_factory=dict)
    uid: int = 0
    gid: int = 0
    group_range: str = ""

    @property
    def allowed(self) -> bool:
        """Whether ICMP over IPv4 can be sent."""
        return Family.V4 in self.icmp

    @property
    def sentence(self) -> str:
        """How ICMP is sent here, or why it is not and how to change it."""
        if reason := self.why_not():
            return reason
        ways = ", ".join(f"{means.spoken} for {family.spoken}" for family, means in self.icmp.items())
        calls = "many packets in one system call" if self.batches else "one system call a packet"
        return f"ICMP is permitted: {ways}; {calls}"

    def why_not(self, family: Family = Family.V4) -> str:
        """Return why ICMP of a family cannot be sent and how to change it, or ``""`` if it can."""
        if family in self.icmp:
            return ""
        dgram, raw = (self.errors.get((family, means), "not tried") for means in Means)
        if raw not in NOT_PERMITTED:
            return f"this machine has no ICMP over {family.spoken}: {raw}"
        return (
            f"ICMP is not permitted for uid={self.uid} gid={self.gid}: ping socket: {dgram} "
            f'(net.ipv4.ping_group_range is "{self.group_range}"), raw socket: {raw} (no CAP_NET_RAW). Fix one of: '
            f'sysctl -w net.ipv4.ping_group_range="{EVERYONE}"; docker run --sysctl '
            f'net.ipv4.ping_group_range="{EVERYONE}" or --cap-add NET_RAW; '
            f"setcap cap_net_raw+ep {os.path.realpath(sys.executable)}."
        )

    def fallback(self, with_port: int, without_port: int) -> str:
        """Return why ICMP over IPv4 cannot be sent and what is done instead, or ``""`` if it can.

        Args:
            with_port: ICMP targets that are probed by TCP instead.
            without_port: ICMP targets that are not measured.
        """
        reason = self.why_not()
        if not reason:
            return ""
        return (
            f"{reason} Falling back to TCP connect for {_targets(with_port)} with a port; "
            f"{_targets(without_port)} without a port {'is' if without_port == 1 else 'are'} not measured."
        )

    def require(self) -> None:
        """Raise unless ICMP over IPv4 can be sent.

        Raises:
            ProbeNotPermittedError: It says why, and how to change it.
        """
        if reason := self.why_not():
            raise ProbeNotPermittedError(reason)


def find_out() -> Permission:
    """Try what is possible: for each family a datagram socket, then a raw one."""
    icmp: dict[Family, Means] = {}
    errors: dict[tuple[Family, Means], str] = {}
    for family in Family:
        for means in Means:
            try:
                open_icmp(family, means).close()
            except OSError as error:
                errors[family, means] = errno.errorcode.get(error.errno or 0, str(error))
                continue
            icmp[family] = means
            break
    try:
        group_range = " ".join(PING_GROUP_RANGE.read_text().split())
    except OSError:
        group_range = ""
    return Permission(icmp, mmsg.available(), errors, os.getuid(), os.getgid(), group_range)


def _targets(count: int) -> str:
    return f"{count} target{'' if count == 1 else 's'}"

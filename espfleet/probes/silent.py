"""Targets that cannot be probed here: they are "not measured" on schedule."""

from __future__ import annotations

from collections.abc import Sequence

from espfleet.domain.samples import NOT_MEASURED
from espfleet.probes.clocks import SYSTEM, Clocks
from espfleet.probes.outcomes import Endpoint
from espfleet.probes.paced import PacedEngine
from espfleet.probes.permission import Permission
from espfleet.probes.wire import family_of


class SilentEngine(PacedEngine):
    """Gives endpoints ``NOT_MEASURED`` instead of probing them.

    Args:
        endpoints: What is not probed, in the order of the schedule; at least one.
        interval_ms: Length of a round.
        permission: Why they are not.
        origin_ns: When round 0 began, monotonic; ``None`` for now.
        clocks: Where times come from.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        interval_ms: int,
        permission: Permission,
        *,
        origin_ns: int | None = None,
        clocks: Clocks = SYSTEM,
    ) -> None:
        super().__init__(endpoints, interval_ms, origin_ns=origin_ns, clocks=clocks)
        self._permission = permission
        for slot in range(len(endpoints)):
            self.mute(slot, NOT_MEASURED)

    def readdress(self, slot: int, ip: str | None) -> bool:
        """Keep ``slot`` silent; return ``False`` if another engine could probe it at its new address."""
        if ip is not None and family_of(ip) in self._permission.icmp:
            return False
        self.mute(slot, NOT_MEASURED)
        return True

    def close(self) -> None:
        """Nothing to give back."""

    def _send(self, first: int, last: int, now_ns: int) -> bool:
        raise AssertionError(f"slots {first} to {last} of a silent engine are not muted at {now_ns}")

"""Targets that exist only as numbers: no packet leaves the process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from espfleet.domain.samples import LOST
from espfleet.probes import weather
from espfleet.probes.clocks import SYSTEM, Clocks
from espfleet.probes.outcomes import Endpoint
from espfleet.probes.paced import PacedEngine


class SimEngine(PacedEngine):
    """Probes networks of ``weather``; their answers are known at once. Arguments as those of ``PacedEngine``."""

    def __init__(
        self, endpoints: Sequence[Endpoint], interval_ms: int, *, origin_ns: int | None = None, clocks: Clocks = SYSTEM
    ) -> None:
        super().__init__(endpoints, interval_ms, origin_ns=origin_ns, clocks=clocks)
        self._spells = np.array([weather.code_of(endpoint.address.host) for endpoint in endpoints], np.int64)
        self._seeds = np.array([endpoint.address.seed for endpoint in endpoints], np.int64)
        self._timeouts_us = np.array([endpoint.timeout_ms * 1_000.0 for endpoint in endpoints])

    def close(self) -> None:
        """Nothing to give back."""

    def _send(self, first: int, last: int, now_ns: int) -> bool:
        number = self._ledger.head // self.pace.slots
        slots = np.arange(first, last)
        began_ns = self.pace.start_ns(number) + self._watch.offset_ns
        at_ms = (began_ns + slots * self.pace.step_ns(number)) // 1_000_000
        rtt_us = weather.rtt_us(self._spells[first:last], self._seeds[first:last], at_ms)
        rtt_us[rtt_us > self._timeouts_us[first:last]] = LOST
        lost = int(np.isnan(rtt_us).sum())
        self._totals.sent += len(rtt_us)
        self._totals.lost += lost
        self._totals.received += len(rtt_us) - lost
        self._ledger.decide(rtt_us, now_ns)
        return True

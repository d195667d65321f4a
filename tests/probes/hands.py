"""Clocks for tests."""

from __future__ import annotations

from espfleet.probes.clocks import Clocks


class Hands:
    """Clocks that are moved by hand."""

    def __init__(self) -> None:
        self.monotonic = 1_000_000_000
        self.realtime = 1_700_000_000_000_000_000
        self.reading_ns = 0
        self.clocks = Clocks(self._read, lambda: self.realtime)

    def _read(self) -> int:
        self.monotonic += self.reading_ns
        self.realtime += self.reading_ns
        return self.monotonic

    def pass_ns(self, ns: int) -> None:
        self.monotonic += ns
        self.realtime += ns

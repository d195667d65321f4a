"""Lamps of which it was told that their gateway is gone: it must have been, whatever else was broken."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from espfleet.domain.devices import Reason
from espfleet.store.events import Event
from espfleet.store.presence import EVENT

#: What befell a gateway so long ago may be the reason: it takes a watchdog to find, and some time to read.
EXCUSED_S = 6.0


class Losses:
    """Judges what is told of lamps that have lost their gateway.

    A gateway is known by the number of its process, which is part of its name.
    """

    def __init__(self) -> None:
        self._troubled_s: dict[str, float] = {}
        self._all_troubled_s = float("-inf")

    def troubled(self, pids: Iterable[int], now_s: float) -> None:
        """Note that some gateways are frozen."""
        self._troubled_s.update((str(pid), now_s) for pid in pids)

    def all_troubled(self, now_s: float) -> None:
        """Note that no gateway reaches Redis as it should, and Redis itself is there."""
        self._all_troubled_s = now_s

    def false(self, told: Iterable[Event], alive: Collection[int], now_s: float) -> list[str]:
        """Return of which lamps it is said that their gateway is gone, while it was there and well.

        Args:
            told: Events since the last time.
            alive: Gateways that run since before those events.
            now_s: By the clock of all times here.
        """
        wrong = []
        for event in told:
            # Outages that many lamps share have a reason too, but are told of groups of lamps.
            if event.kind != EVENT or event.fields.get("reason") != Reason.GATEWAY.value:
                continue
            if now_s - self._all_troubled_s <= EXCUSED_S:
                continue
            for pid in set(event.fields["gateway"].split("-")) & {str(pid) for pid in alive}:
                if now_s - self._troubled_s.get(pid, float("-inf")) > EXCUSED_S:
                    wrong.append(f"{event.fields['device']} at {event.fields['gateway']}")
        return wrong

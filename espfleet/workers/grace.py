"""Time for gateways when Redis was away: what they keep alive looks dead until they have said that it lives."""

from __future__ import annotations

import time
from collections.abc import Callable

from espfleet.store import presence
from espfleet.store.client import Store
from espfleet.store.presence import GRACE_S

#: Where Redis is away again and again, what is dead is told after it was there for this time in all.
MOST_S = 30.0
#: No answer is so long under way, and no clock goes wrong by so much, while all is well.
USUAL_S = 1.0
#: What one of very many things may take besides.
THING_S = 0.002


class Grace:
    """Whether what Redis does not know to live is dead, and not only unheard because Redis was away.

    It was away if it could not be reached, if it was frozen, and if its machine slept; a clock that is set ahead lets
    nothing live either.

    Args:
        store: Where the fleet is kept.
        monotonic: Seconds of a clock that nobody sets.
    """

    def __init__(self, store: Store, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._monotonic = monotonic
        #: What gateways still have of their time, and of what they may have in all.
        self._left_s = 0.0
        self._most_s = MOST_S
        #: When Redis was seen to take what it is told; ``None`` since it was away.
        self._there_s: float | None = None
        self._heard_s = monotonic()
        #: Of the clock of each partition's server, beyond ours.
        self._ahead_s: list[float] = []

    @property
    def is_over(self) -> bool:
        """Whether gateways have had their time."""
        return self._left_s <= 0

    async def begin(self) -> None:
        """Redis was away; gateways have their time from when it is there again."""
        if self.is_over:
            self._most_s = MOST_S
        else:
            # Else it never ends where Redis is away each time somebody looks.
            self._spend(USUAL_S)
        self._there_s = None
        self._left_s = min(GRACE_S, self._most_s)

    def note_there(self) -> None:
        """Redis has just taken what it was told: the time of gateways passes."""
        self._spend()
        self._there_s = self._monotonic()

    def _spend(self, at_most_s: float = float("inf")) -> None:
        if self._there_s is not None:
            spent_s = min(self._monotonic() - self._there_s, at_most_s)
            self._left_s -= spent_s
            self._most_s -= spent_s

    async def times(self) -> list[int]:
        """Ask each server of Redis for its time, and see whether one was away.

        A single one answers also while it takes no writes; that it does is to be noted.

        Returns:
            What they show, by partition, ms since the epoch.

        Raises:
            StoreError: If one cannot be reached.
        """
        self._heard_s = self._monotonic()
        times_ms = await presence.times(self._store)
        now_s = self._monotonic()
        before_s, self._ahead_s = self._ahead_s, [time_ms / 1_000 - now_s for time_ms in times_ms]
        if any(after - before > USUAL_S for before, after in zip(before_s, self._ahead_s, strict=False)):
            await self.begin()
        await self.heard()
        return times_ms

    async def heard(self, things: int = 0) -> None:
        """Redis has answered what it was asked since it was heard last; see whether it was frozen meanwhile.

        Args:
            things: How much that was, if it was much.
        """
        now_s = self._monotonic()
        took_s, self._heard_s = now_s - self._heard_s, now_s
        if took_s > USUAL_S + things * THING_S:
            await self.begin()

"""Finding the probes whose time is over without looking at all of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]

#: State of a probe that waits for its answer.
SENT = 1


class Expiry:
    """Follows the probes of one time-out through the ring: they were sent in order, so they end in order.

    Args:
        timeout_ns: How long an answer may take.
        mine: Which slots have this time-out, bool [slots].
        states: States by index of the ring, uint8 [size].
        sent_ns: When each was sent, monotonic, rising with positions, int64 [size].
    """

    def __init__(
        self, timeout_ns: int, mine: npt.NDArray[np.bool_], states: npt.NDArray[np.uint8], sent_ns: Ints
    ) -> None:
        self._timeout_ns = timeout_ns
        self._mine = None if mine.all() else mine
        self._slots = len(mine)
        self._states, self._sent_ns = states, sent_ns
        # Every earlier position is done with.
        self._next = 0

    def take(self, head: int, now_ns: int) -> Ints:
        """Return the positions that still wait although their time is over, and be done with them.

        Args:
            head: Position after the last that was sent.
            now_ns: Monotonic.
        """
        found: list[Ints] = []
        for low, high in self._stretches(head):
            cut = int(np.searchsorted(self._sent_ns[low:high], now_ns - self._timeout_ns, side="right"))
            found.append(self._waiting(low, low + cut))
            self._next += cut
            if cut < high - low:
                break
        return found[0] if len(found) == 1 else np.concatenate(found or [np.zeros(0, np.int64)])

    def next_ns(self, head: int) -> int | None:
        """Return when the time of the first that waits is over, or ``None`` if none waits."""
        for low, high in self._stretches(head):
            waiting = self._waiting(low, high)
            if len(waiting):
                self._next = int(waiting[0])
                return int(self._sent_ns[self._next % len(self._states)]) + self._timeout_ns
            self._next += high - low
        return None

    def _stretches(self, head: int) -> Iterator[tuple[int, int]]:
        """Yield the indices of what is not done with, as one or two stretches of the ring."""
        size = len(self._states)
        self._next = max(self._next, head - size)
        while self._next < head:
            low = self._next % size
            yield low, min(size, low + head - self._next)

    def _waiting(self, low: int, high: int) -> Ints:
        """Return the positions that wait among the indices from the next one on."""
        waiting = self._states[low:high] == SENT
        if self._mine is not None:
            waiting &= self._mine[np.arange(low, high) % self._slots]
        found: Ints = np.flatnonzero(waiting) + self._next
        return found

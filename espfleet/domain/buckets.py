"""Token buckets by source: how much each may do at once, and how fast it may go on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

#: What is remembered of sources; the one that was quiet for the longest is forgotten first.
REMEMBERED = 4_096


class Buckets:
    """One bucket for each source. It is full at first; what is taken comes back at a steady pace.

    Of a source nothing is kept but when its bucket will be full again; a source that is forgotten has a full one.

    Args:
        most: So much is in a full bucket.
        each_s: One comes back each time so many seconds have passed.
        clock: Returns seconds that never jump.
    """

    __slots__ = ("_clock", "_each_s", "_full_at_s", "_most")

    def __init__(self, most: float, each_s: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._each_s = each_s
        self._clock = clock
        self._full_at_s: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many sources are remembered."""
        return len(self._full_at_s)

    def wait_s(self, source: str) -> float:
        """Return when the next one can be taken, in s from now; 0 if there is one."""
        full_at_s = self._full_at_s.get(source)
        if full_at_s is None:
            return 0.0
        # A hair less than one is one: times are rounded.
        wait_s = full_at_s - self._clock() - (self._most - 1) * self._each_s
        return wait_s if wait_s > 1e-6 else 0.0

    def take(self, source: str) -> None:
        """Take one; what is empty stays so."""
        now_s = self._clock()
        full_at_s = max(now_s, self._full_at_s.get(source, now_s)) + self._each_s
        self._full_at_s[source] = min(full_at_s, now_s + self._most * self._each_s)
        self._full_at_s.move_to_end(source)
        if len(self._full_at_s) > REMEMBERED:
            self._full_at_s.popitem(last=False)

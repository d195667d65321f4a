"""Handing lamps over to other gateways, no faster than these take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

#: A lamp shows its level while it is on its way, but not for long: so few are let in quickly on a busy machine, too.
MOST_UNDER_WAY = 100
#: A gateway takes at least this many connections in a second (measured: 7,000 without tokens to check).
CONNECTS_PER_S = 1_000
#: A restart takes about this long.
RETRY_FROM_MS = 500
RETRY_SPREAD_MS = 1_500


class HandOver:
    """Which lamps may go now; the others stay, where they are told their levels.

    When time runs out they go at ``CONNECTS_PER_S``, whether those before them have arrived or not.

    Args:
        device_ids: Who is here.
        until_s: When all must have gone.
        waited_s: How long a lamp that went is waited for, until it is at another gateway.
    """

    def __init__(self, device_ids: Iterable[str], until_s: float, waited_s: float) -> None:
        self._here = deque(device_ids)
        self._until_s = until_s
        self._waited_s = waited_s
        self._under_way: dict[str, float] = {}

    def arrived(self, device_id: str) -> None:
        """A device has come to another gateway."""
        self._under_way.pop(device_id, None)

    def next(self, now_s: float) -> list[str]:
        """Return those that are to go now."""
        while self._under_way and now_s - next(iter(self._under_way.values())) >= self._waited_s:
            del self._under_way[next(iter(self._under_way))]
        free = MOST_UNDER_WAY - len(self._under_way)
        overdue = len(self._here) - int(max(self._until_s - now_s, 0) * CONNECTS_PER_S)
        going = [self._here.popleft() for _ in range(min(max(free, overdue, 0), len(self._here)))]
        self._under_way.update(dict.fromkeys(going, now_s))
        return going


def spread(count: int) -> list[int]:
    """Return for each of ``count`` clients when to come back, in ms: evenly, and no faster than they can be served."""
    over_ms = max(RETRY_SPREAD_MS, count * 1_000 // CONNECTS_PER_S)
    return [RETRY_FROM_MS + over_ms * number // max(count, 1) for number in range(count)]

"""Handing lamps over to other gateways, no faster than these take them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

#: A lamp shows its level while it is on its way, but not for long: so few are let in quickly on a busy machine, too.
MOST_UNDER_WAY = 100
#: When time runs out, lamps go at this pace, whether those before them have arrived or not, 1/s.
LAST_PACE = 1_000


class HandOver:
    """Which lamps may go now; the others stay, where they are told their levels.

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
        overdue = len(self._here) - int(max(self._until_s - now_s, 0) * LAST_PACE)
        going = [self._here.popleft() for _ in range(min(max(free, overdue, 0), len(self._here)))]
        self._under_way.update(dict.fromkeys(going, now_s))
        return going

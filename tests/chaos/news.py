"""When a shard's levels were heard of: what a lamp shows is judged by that, a while later.

Whoever watches may hear of a level after the lamps do, above all when Redis has just come back. So a lamp that seems to
show something old is only doubted, until whatever it may have heard has been heard here too.
"""

from __future__ import annotations

from collections import defaultdict, deque

#: After so long everything that lamps may have heard has been read here, or Redis has been away all the time.
HINDSIGHT_S = 3.0
_KEPT = 1_000


class News:
    """What was heard of each shard, and doubts about those who show its levels.

    Args:
        most_s: How old the latest news of a shard may be while its levels are shown, in seconds.
        began_s: Counts as news of all shards, seconds on the clock of all times here.
    """

    def __init__(self, most_s: float, began_s: float) -> None:
        self._most_s = most_s
        self._heard: dict[int, deque[float]] = defaultdict(lambda: deque([began_s], _KEPT))
        self._newest_s: dict[int, float] = defaultdict(lambda: began_s)
        self._doubts: deque[tuple[float, int, str]] = deque()

    def heard(self, shard: int, at_s: float) -> None:
        """Note that there was news of a shard at a time, which may have passed."""
        self._heard[shard].append(at_s)
        self._newest_s[shard] = max(self._newest_s[shard], at_s)

    def age_s(self, shard: int, now_s: float) -> float:
        """Return how old the latest news of a shard is, as far as is known."""
        return now_s - self._newest_s[shard]

    def doubt(self, shard: int, at_s: float, what: str) -> None:
        """Note that somebody showed a shard's level at a time, without news as far as is known."""
        self._doubts.append((at_s, shard, what))

    def lies(self, now_s: float) -> list[tuple[float, str]]:
        """Return when and what was shown without news, of the doubts that are old enough."""
        found = []
        while self._doubts and now_s - self._doubts[0][0] >= HINDSIGHT_S:
            at_s, shard, what = self._doubts.popleft()
            if not any(at_s - self._most_s <= news_s <= at_s for news_s in self._heard[shard]):
                found.append((at_s, what))
        return found

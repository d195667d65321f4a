"""Places that clients take, in all and by source, so that none takes those of all others."""

from __future__ import annotations

from collections import Counter

#: Those who find all places taken are told to come back after this time, spread by where they stand.
FULL_S = 5
SPREAD_S = 10
#: So many more than there are places are told when to return; beyond that, clients are cut unheard.
TOLD = 256


def wait_s(turned_away: int) -> int:
    """Return when the one who was turned away as the so-manieth may come back, in s."""
    return FULL_S + turned_away % SPREAD_S


class Places:
    """Counts who is there. A source is what ``attempts.source_of`` says.

    Args:
        most: Places in all.
        most_per_source: Those of them for one source.
    """

    __slots__ = ("_by_source", "_most", "_most_per_source", "_taken")

    def __init__(self, most: int, most_per_source: int) -> None:
        self._most = most
        self._most_per_source = most_per_source
        self._by_source: Counter[str] = Counter()
        self._taken = 0

    def __len__(self) -> int:
        """Return how many are taken."""
        return self._taken

    def fit(self, source: str, beyond: int = 0) -> bool:
        """Tell whether one more may come from a source, if there were ``beyond`` more places."""
        return self._taken < self._most + beyond and self._by_source[source] < self._most_per_source + beyond

    @property
    def full(self) -> bool:
        """Whether there is none left."""
        return self._taken >= self._most

    @property
    def overfull(self) -> bool:
        """Whether more are taken than there are."""
        return self._taken > self._most

    def overfull_for(self, source: str) -> bool:
        """Tell whether a source has taken more than it may have."""
        return self._by_source[source] > self._most_per_source

    def take(self, source: str) -> None:
        """Note that somebody has come, whether there was a place or not."""
        self._taken += 1
        self._by_source[source] += 1

    def free(self, source: str) -> None:
        """Note that somebody who had come has gone."""
        self._taken -= 1
        self._by_source[source] -= 1
        if self._by_source[source] <= 0:
            del self._by_source[source]

"""How many entries each stream of samples keeps: those that all probers write to it in the time that is promised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from espfleet.store import samples

#: A stream keeps half as much again, for entries do not come evenly.
MARGIN = 1.5
#: What is left of a rate after a second: where less comes than before, what is there goes slower than it ages.
LEFT_AFTER_A_SECOND = 0.995


class Retention:
    """Rates of one prober and of all, for each stream; told once a second or so.

    Args:
        kept_s: How much of the past a stream keeps at least, in seconds.
        lengths: How many entries each stream has now; a prober that begins lets them be.
        now_s: Monotonic time.

    Attributes:
        own_per_s: Entries that this prober writes in a second, by number of the shard.
    """

    def __init__(self, kept_s: float, lengths: Sequence[int], now_s: float) -> None:
        self.own_per_s = [0.0] * len(lengths)
        self._kept_s = kept_s * MARGIN
        self._all_per_s = [length / self._kept_s for length in lengths]
        self._made = [0] * len(lengths)
        self._at_s = now_s

    def follow(self, made: Mapping[int, int], others_per_s: Iterable[Sequence[float]], now_s: float) -> None:
        """Take in what this prober has made so far for each shard, and what each other prober says of itself."""
        passed_s = max(0.1, now_s - self._at_s)
        left = LEFT_AFTER_A_SECOND**passed_s
        others = list(others_per_s)
        for shard, before in enumerate(self._made):
            own_per_s = (made.get(shard, 0) - before) / passed_s
            self.own_per_s[shard] = max(own_per_s, left * self.own_per_s[shard])
            total_per_s = self.own_per_s[shard] + sum(rates[shard] for rates in others if shard < len(rates))
            self._all_per_s[shard] = max(total_per_s, left * self._all_per_s[shard])
            self._made[shard] = made.get(shard, 0)
        self._at_s = now_s

    def entries(self) -> dict[int, int]:
        """Return how many entries each stream shall keep, by number of the shard."""
        return {
            shard: max(samples.LEAST_KEPT, round(per_s * self._kept_s)) for shard, per_s in enumerate(self._all_per_s)
        }

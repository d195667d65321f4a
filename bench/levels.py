"""How long a leveler needs to take in one sample of every target and to say what became of all groups.

Targets are probed once a second, in a random order as a prober does it, and stand ten to a group, under all presets
and rules of combining. Their windows are full before anything is measured. One tick is ``LevelBook.add`` of one sample
of each and ``LevelBook.evaluate`` with all the ``GroupLevel`` it returns.

Time is that of the processor (neither side waits for anything or uses a second core), so that what else the machine
does counts less.

The peer computes the same windows anew: ``np.nanmedian`` of the short ones, ``np.nanpercentile`` (20 and 50) of the
long ones. It is spared jitter, loss, thresholds, bands, groups and words.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from itertools import count

import numpy as np
import numpy.typing as npt

from bench.report import report
from espfleet.domain.groups import PRESETS, Combine, Group
from espfleet.domain.levels import LevelBook
from espfleet.domain.sizes import sizes_of
from espfleet.domain.targets import Target

CAP_S = 400
INTERVAL_MS = 1_000
GROUP = 10
#: Targets, bound in ms, rounds, ticks in a round.
SIZES = ((1_000, 0.6, 15, 40), (10_000, 3.0, 9, 15), (100_000, 35.0, 5, 6))
KEPT_TICKS = 40
START_MS = 1_700_000_000_000
SEED = 1
MEDIAN_MS = {"lan": 0.8, "broadband": 18.0, "mobile": 55.0, "satellite": 600.0, "pinglamp": 12.0}
Floats = npt.NDArray[np.float32]


class Fleet:
    """A book with full windows, and endless samples for it."""

    def __init__(self, targets: int) -> None:
        rng = np.random.default_rng((SEED, targets))
        names = [f"target-{number}" for number in range(targets)]
        presets = rng.choice(list(PRESETS), targets // GROUP)
        rules = rng.choice([Combine.WORST, Combine.MEDIAN, Combine.QUORUM], targets // GROUP, p=[0.8, 0.1, 0.1])
        groups = {
            f"group-{number}": Group(
                name=f"group-{number}",
                targets=tuple(names[number * GROUP : (number + 1) * GROUP]),
                preset=str(preset),
                combine=rule,
                quorum=2,
            )
            for number, (preset, rule) in enumerate(zip(presets, rules, strict=True))
        }
        self.book = LevelBook()
        self.book.configure(
            {name: Target(name=name, address="127.0.0.1", interval_ms=INTERVAL_MS) for name in names}, groups
        )
        order = rng.permutation(targets)
        self.rows = self.book.rows([names[number] for number in order])
        base_us = 1_000 * np.array([MEDIAN_MS[str(preset)] for preset in presets]).repeat(GROUP)
        base_us = (base_us * np.exp(rng.normal(0, 0.3, targets)))[order]
        self._ticks = [self._sample(rng, base_us) for _ in range(KEPT_TICKS)]
        self._number = count()
        self.changed = 0
        for _ in range(sizes_of(INTERVAL_MS).long + 20):
            self.tick()
        self.window = np.stack(
            [self._ticks[number % KEPT_TICKS] for number in range(sizes_of(INTERVAL_MS).long)], axis=1
        )

    @staticmethod
    def _sample(rng: np.random.Generator, base_us: npt.NDArray[np.float64]) -> Floats:
        rtt_us = base_us * np.exp(np.abs(rng.normal(0, 0.1, len(base_us))))
        rtt_us[rng.random(len(base_us)) < 0.01] *= 4
        rtt_us[rng.random(len(base_us)) < 0.005] = np.nan
        return rtt_us.astype(np.float32)

    def samples(self) -> Iterator[tuple[int, Floats]]:
        """Yield time and samples of one tick after the other."""
        for number in self._number:
            yield START_MS + INTERVAL_MS * number, self._ticks[number * 7 % KEPT_TICKS]

    def tick(self) -> float:
        """Take in one sample of every target; return how long it took, in ms."""
        at_ms, rtt_us = next(self.samples())
        sent_ms = np.full(len(rtt_us), at_ms)
        began = time.thread_time()
        self.book.add(self.rows, rtt_us, sent_ms)
        changed = self.book.evaluate(at_ms)
        took_ms = 1_000 * (time.thread_time() - began)
        self.changed += len(changed)
        return took_ms

    def part_ticks(self, parts: int) -> list[float]:
        """Take in one sample of every target in so many parts, each evaluated; return how long each took, in ms."""
        at_ms, rtt_us = next(self.samples())
        took_ms = []
        for number, part in enumerate(np.array_split(np.arange(len(rtt_us)), parts)):
            rows, some_us, now_ms = self.rows[part], rtt_us[part], at_ms + number * INTERVAL_MS // parts
            sent_ms = np.full(len(part), now_ms)
            began = time.thread_time()
            self.book.add(rows, some_us, sent_ms)
            self.book.evaluate(now_ms)
            took_ms.append(1_000 * (time.thread_time() - began))
        return took_ms

    def recompute(self) -> float:
        """Compute the windows anew; return how long it took, in ms."""
        short = sizes_of(INTERVAL_MS).short
        began = time.thread_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            np.nanmedian(self.window[:, -short:], axis=1)
            np.nanpercentile(self.window, [20, 50], axis=1)
        return 1_000 * (time.thread_time() - began)


def main() -> None:
    for targets, bound_ms, rounds, ticks in SIZES:
        fleet = Fleet(targets)
        fleet.changed = 0
        ours, peer, parts = [], [], []
        for number in range(rounds):
            ours.append(float(np.median([fleet.tick() for _ in range(ticks)])))
            if number < 3:
                peer.append(fleet.recompute())
        changed = fleet.changed / (rounds * ticks)
        report(
            f"levels: one tick of {targets:,} targets",
            ours,
            peer,
            bound=f"ours <= {bound_ms:g}",
            unit="ms",
            peer_name="np.nanpercentile and np.nanmedian over the same windows",
            note=f"{changed:,.0f} of {targets // GROUP:,} groups changed in a tick",
        )
        if targets == 1_000:
            for _ in range(rounds):
                parts.append(float(np.median(fleet.part_ticks(40))))
            report("levels: 25 samples of 1,000 targets", parts, bound="ours <= 0.5", unit="ms")


if __name__ == "__main__":
    main()

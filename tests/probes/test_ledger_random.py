"""The ledger against a plain one, through long random histories."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest

from espfleet.domain.samples import NOT_MEASURED, UNREACHABLE
from espfleet.probes.ledger import Ledger
from espfleet.probes.outcomes import Counters

MS = 1_000_000
INTERVAL_MS = 50


class PlainLedger:
    """What became of each probe, one at a time."""

    def __init__(self, timeouts_ms: list[int]) -> None:
        self.timeouts_ms = timeouts_ms
        self.sent_ms: dict[int, int] = {}
        #: Those sent that have no sample yet, in order; only the keys count.
        self.waiting: dict[int, None] = {}
        self.samples: dict[int, float] = {}
        self.answered: set[int] = set()
        self.duplicate = 0

    def send(self, positions: range, now_ms: int) -> None:
        self.sent_ms |= dict.fromkeys(positions, now_ms)
        self.waiting |= dict.fromkeys(positions)

    def answer(self, position: int, came_ms: int) -> None:
        if position in self.samples:
            self.duplicate += position in self.answered
        else:
            took_ms = came_ms - self.sent_ms[position]
            late = took_ms > self.timeouts_ms[position % len(self.timeouts_ms)]
            self.settle([position], math.nan if late else max(took_ms * 1_000.0, 0.1))
            self.answered.add(position)

    def expire(self, now_ms: int) -> None:
        for position in list(self.waiting):
            if self.sent_ms[position] + self.timeouts_ms[position % len(self.timeouts_ms)] <= now_ms:
                self.settle([position], math.nan)

    def settle(self, positions: list[int], value: float) -> None:
        for position in positions:
            self.samples[position] = value
            self.waiting.pop(position, None)


@pytest.mark.parametrize("seed", range(8))
def test_a_long_random_history_ends_as_in_a_plain_ledger(seed: int) -> None:
    random = np.random.default_rng(seed)
    slots = int(random.integers(1, 12))
    timeouts_ms = random.choice([30, 100, 333, 1_000], slots).tolist()
    ledger = Ledger(INTERVAL_MS * MS, np.array(timeouts_ms) * MS, Counters())
    plain = PlainLedger(timeouts_ms)
    samples: dict[int, float] = {}
    now_ms, last = 10_000, -1
    for _ in range(3_000):
        now_ms += int(random.integers(0, 2 * INTERVAL_MS // slots + 1))
        ledger.expire(now_ms * MS, -(2**62))
        plain.expire(now_ms)
        # Never ahead of the pace: the ring is as long as the longest time-out at that pace.
        while ledger.head <= (now_ms - 10_000) * slots // INTERVAL_MS:
            number, slot = divmod(ledger.head, slots)
            ledger.begin(number, 0, 0)
            count = int(random.integers(1, slots - slot + 1))
            if random.random() < 0.1:
                plain.settle(list(range(ledger.head, ledger.head + count)), UNREACHABLE)
                ledger.decide(np.full(count, UNREACHABLE, np.float32), now_ms * MS)
                continue
            plain.send(range(ledger.head, ledger.head + count), now_ms)
            ledger.sent(count, now_ms * MS, now_ms * MS, now_ms * MS)
        chosen = [position for position in plain.waiting if random.random() < 0.2]
        again = [position for position in islice(reversed(plain.sent_ms), 20) if random.random() < 0.05]
        answers = random.permutation([*chosen, *chosen[:2], *again]).astype(np.int64)
        for position in answers.tolist():
            plain.answer(position, now_ms)
        if len(answers):
            ledger.answer(answers, np.full(len(answers), now_ms * MS))
        if random.random() < 0.05 and plain.waiting:
            position = int(random.choice(list(plain.waiting)))
            plain.settle([position], UNREACHABLE)
            ledger.unreachable(position % slots, position // slots)
        if random.random() < 0.01:
            plain.settle(list(plain.waiting), NOT_MEASURED)
            ledger.void()
        for found in ledger.take():
            for slot, value in zip(found.slots.tolist(), found.rtt_us.tolist(), strict=True):
                position = found.number * slots + slot
                assert position not in samples, "a probe has one sample"
                samples[position] = value
        assert ledger.outstanding == len(plain.waiting)
        last = ledger.head
    assert last > 100
    assert samples.keys() == plain.samples.keys()
    expected = np.array([plain.samples[position] for position in sorted(samples)])
    np.testing.assert_allclose(np.array([samples[position] for position in sorted(samples)]), expected, rtol=1e-5)
    assert ledger.counters.received == sum(value >= 0 for value in (plain.samples[one] for one in plain.answered))
    assert ledger.counters.duplicate == plain.duplicate

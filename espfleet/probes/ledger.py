"""What became of each probe: a ring of rounds, so that time-outs may be longer than the interval.

Positions count probes without end (see ``pace``); position ``p`` lives at index ``p % size`` of every array. Probes
are sent in the order of positions, so send times rise with them and time-outs are found by bisection.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, Floats
from espfleet.probes.expiry import SENT, Expiry, Ints
from espfleet.probes.outcomes import Counters, Round

#: States of a probe, beside SENT.
UNSENT, ANSWERED, TIMED_OUT, SETTLED, VOID = 0, 2, 3, 4, 5
#: Rounds kept beyond those that the longest time-out spans: one that is being sent, one for sends that are late by
#: up to an interval, one for time-outs noticed late.
SPARE_ROUNDS = 3
#: A shorter round trip is the rounding of clocks; it must not look like "none", nor like a code, which are negative.
SHORTEST_US = 0.1
#: Two kernel stamps cannot lie the wrong way round by more than this unless the clock was set.
BACKWARDS_US = -100.0


class Ledger:
    """Probes of one engine from sending to sample.

    Args:
        interval_ns: Length of a round.
        timeouts_ns: How long an answer may take, int64 [slots].
        counters: Where it counts what became of probes.
    """

    def __init__(self, interval_ns: int, timeouts_ns: Ints, counters: Counters) -> None:
        self.slots = len(timeouts_ns)
        rounds = int(-(-timeouts_ns.max() // interval_ns)) + SPARE_ROUNDS
        self.size = size = rounds * self.slots
        #: Next position to be sent.
        self.head = 0
        self.outstanding = 0
        self.counters = counters
        self._timeouts_us = timeouts_ns / 1_000
        self._shortest_timeout_us = float(self._timeouts_us.min())
        self._state = np.zeros(size, np.uint8)
        self._sent_ns = np.zeros(size, np.int64)  # monotonic
        self._left_ns = np.zeros(size, np.int64)  # since the epoch; by the kernel where it says so
        self._stamped = np.zeros(size, np.bool_)
        self._order = np.arange(self.slots)
        self._at_ns = [0] * rounds
        self._step_ns = [0] * rounds
        self._expiries = [
            Expiry(int(timeout), timeouts_ns == timeout, self._state, self._sent_ns)
            for timeout in np.unique(timeouts_ns)
        ]
        self._now_ns = -(2**62)
        self._known: list[tuple[Ints, Floats]] = []
        self._rounds: list[Round] = []

    def begin(self, number: int, at_ns: int, step_ns: int) -> None:
        """Open a round: slot 0 is due at ``at_ns``, monotonic."""
        row = number % len(self._at_ns)
        self._at_ns[row], self._step_ns[row] = at_ns, step_ns

    def sent(self, count: int, first_ns: int, last_ns: int, now_ns: int) -> None:
        """Note that the next ``count`` positions, all of one round, have left.

        Args:
            count: How many.
            first_ns, last_ns: When the first and the last of them left, ns since the epoch; they may be equal where
                ``stamp`` will tell.
            now_ns: Monotonic.
        """
        low = self.head % self.size
        high = low + count
        self._state[low:high] = SENT
        self._sent_ns[low:high] = self._rising(now_ns)
        self._left_ns[low:high] = first_ns
        if first_ns != last_ns:
            self._left_ns[low:high] += (last_ns - first_ns) // count * self._order[:count]
        self._stamped[low:high] = False
        self.head += count
        self.outstanding += count
        self.counters.sent += count

    def decide(self, values: Floats, now_ns: int) -> None:
        """Give the next positions, all of one round, their samples at once; nothing is waited for."""
        low = self.head % self.size
        high = low + len(values)
        self._state[low:high] = SETTLED
        self._sent_ns[low:high] = self._rising(now_ns)
        self._known.append((np.arange(self.head, self.head + len(values)), values))
        self.head += len(values)

    def jump(self, position: int, now_ns: int) -> None:
        """Leave out all positions up to ``position``."""
        waiting = self._waiting()
        self._settle_as(waiting[waiting < position - self.size], VOID, NOT_MEASURED)
        self._collect()
        indices = np.arange(self.head, position)[-self.size :] % self.size
        self._state[indices] = SETTLED
        self._sent_ns[indices] = self._rising(now_ns)
        self.head = position

    def stamp(self, positions: Ints, left_ns: Ints) -> None:
        """Take over when the kernel says that probes left, ns since the epoch."""
        indices = positions % self.size
        self._left_ns[indices] = left_ns
        self._stamped[indices] = True

    def answer(self, positions: Ints, came_ns: Ints) -> None:
        """Take over answers with our token, in the order they came, and when they came, ns since the epoch."""
        order = np.argsort(positions, kind="stable")
        positions, came_ns = positions[order], came_ns[order]
        indices = positions % self.size
        states = self._state[indices]
        waiting = (states == SENT) & self._in_ring(positions)
        # Of several answers to a probe the first counts; sorted, they are neighbours.
        waiting[1:] &= positions[1:] != positions[:-1]
        if not waiting.all():
            self._count_unexpected(positions, states, waiting)
            positions, indices, came_ns = positions[waiting], indices[waiting], came_ns[waiting]
            if not len(positions):
                return
        rtt_us = (came_ns - self._left_ns[indices]) * 1e-3
        self.counters.received += len(indices)
        self.counters.unstamped += len(indices) - int(np.count_nonzero(self._stamped[indices]))
        if rtt_us.min() < SHORTEST_US or rtt_us.max() > self._shortest_timeout_us:
            self._correct(rtt_us, self._timeouts_us[positions % self.slots])
        self._state[indices] = ANSWERED
        self._know(positions, rtt_us.astype(np.float32))

    def _correct(self, rtt_us: npt.NDArray[np.floating], timeouts_us: npt.NDArray[np.float64]) -> None:
        """Replace round trips that are too long, tiny, or negative."""
        slow, backwards = rtt_us > timeouts_us, rtt_us < BACKWARDS_US
        np.maximum(rtt_us, SHORTEST_US, out=rtt_us)
        rtt_us[slow], rtt_us[backwards] = LOST, NOT_MEASURED
        late, broken = int(slow.sum()), int(backwards.sum())
        self.counters.late += late
        self.counters.lost += late
        self.counters.not_measured += broken
        self.counters.received -= late + broken

    def _count_unexpected(self, positions: Ints, states: npt.NDArray[np.uint8], waiting: npt.NDArray[np.bool_]) -> None:
        future = positions >= self.head
        past = positions < self.head - self.size
        here = ~(future | past | waiting)
        self.counters.spoofed += int(future.sum() + (here & (states == UNSENT)).sum())
        self.counters.duplicate += int((here & ((states == ANSWERED) | (states == SENT))).sum())
        self.counters.late += int((past | here & np.isin(states, (TIMED_OUT, SETTLED))).sum())

    def unreachable(self, slot: int, number: int | None) -> None:
        """Take over that the network could not deliver a probe.

        Args:
            slot: Which target.
            number: Round of the probe; ``None`` if the network did not say: then the newest that waits.
        """
        position = self._newest_waiting(slot) if number is None else number * self.slots + slot
        inside = max(0, self.head - self.size) <= position < self.head
        if inside and self._state[position % self.size] == SENT:
            self.counters.unreachable += 1
            self._settle_as(np.array([position]), SETTLED, UNREACHABLE)

    def _newest_waiting(self, slot: int) -> int:
        for position in range(self._newest(slot), max(-1, self.head - self.size - 1), -self.slots):
            if self._state[position % self.size] == SENT:
                return position
        return -1

    def _newest(self, slot: int) -> int:
        """Return the position that a slot was sent at last; negative if never."""
        return (self.head - 1 - slot) // self.slots * self.slots + slot

    def settle(self, position: int, value: float) -> None:
        """Give one waiting probe its sample."""
        self._settle_as(np.array([position]), ANSWERED, value)

    def forget(self, slot: int) -> None:
        """Give up the waiting probes of a slot as not measured."""
        newest = self._newest(slot)
        positions = np.arange(newest, max(-1, self.head - self.size - 1), -self.slots)
        positions = positions[self._state[positions % self.size] == SENT][::-1]
        self.counters.not_measured += len(positions)
        self._settle_as(positions, VOID, NOT_MEASURED)

    def void(self) -> None:
        """Give up all waiting probes as not measured: their stamps are of two different clocks."""
        positions = self._waiting()
        self.counters.not_measured += len(positions)
        self.counters.voided_rounds += len(np.unique(positions // self.slots))
        self._settle_as(positions, VOID, NOT_MEASURED)

    def expire(self, now_ns: int, dropped_ns: int) -> Ints:
        """Give up probes whose time is over.

        Args:
            now_ns: All answers that came until then have been taken over.
            dropped_ns: When this machine was last seen dropping answers. What was waiting then cannot be told from
                what was dropped: it is not measured, not lost.

        Returns:
            Positions of the probes given up, int64 [n].
        """
        gone = [expiry.take(self.head, now_ns) for expiry in self._expiries if self.outstanding]
        positions = gone[0] if len(gone) == 1 else np.sort(np.concatenate(gone or [np.zeros(0, np.int64)]))
        if len(positions):
            doubtful = self._sent_ns[positions % self.size] <= dropped_ns
            self.counters.not_measured += int(doubtful.sum())
            self.counters.lost += int(len(positions) - doubtful.sum())
            self._settle(positions, TIMED_OUT, np.where(doubtful, NOT_MEASURED, LOST).astype(np.float32))
        return positions

    def next_expiry_ns(self) -> int | None:
        """Return when the first waiting probe's time is over, or ``None`` while none waits."""
        if not self.outstanding:
            return None
        times = [expiry.next_ns(self.head) for expiry in self._expiries]
        return min((time for time in times if time is not None), default=None)

    def take(self) -> list[Round]:
        """Return the samples that became known since the last call."""
        self._collect()
        rounds, self._rounds = self._rounds, []
        return rounds

    def _rising(self, now_ns: int) -> int:
        """Return ``now_ns``, or what was given before if that is later: send times must rise with positions."""
        self._now_ns = max(self._now_ns, now_ns)
        return self._now_ns

    def _in_ring(self, positions: Ints) -> npt.NDArray[np.bool_]:
        # How many sends ago, less one; as an unsigned number, what is still to be sent was endlessly long ago.
        ages = (self.head - 1 - positions).view(np.uint64)
        inside: npt.NDArray[np.bool_] = ages < min(self.size, self.head)
        return inside

    def _waiting(self) -> Ints:
        positions = np.arange(max(0, self.head - self.size), self.head)
        waiting: Ints = positions[self._state[positions % self.size] == SENT]
        return waiting

    def _settle_as(self, positions: Ints, state: int, value: float) -> None:
        self._settle(positions, state, np.full(len(positions), value, np.float32))

    def _settle(self, positions: Ints, state: int, values: Floats) -> None:
        if len(positions):
            self._state[positions % self.size] = state
            self._know(positions, values)

    def _know(self, positions: Ints, values: Floats) -> None:
        """Take samples of probes that have waited; positions rise."""
        self.outstanding -= len(positions)
        self._known.append((positions, values))

    def _collect(self) -> None:
        """Sort what became known into rounds."""
        if not self._known:
            return
        known, self._known = self._known, []
        positions, values = known[0] if len(known) == 1 else _merged(known)
        low = 0
        while low < len(positions):
            number = int(positions[low]) // self.slots
            high = int(np.searchsorted(positions, (number + 1) * self.slots))
            row = number % len(self._at_ns)
            slots = (positions[low:high] - number * self.slots).astype(np.int32)
            self._rounds.append(Round(number, self._at_ns[row], self._step_ns[row], slots, values[low:high]))
            low = high


def _merged(known: Sequence[tuple[Ints, Floats]]) -> tuple[Ints, Floats]:
    """Return samples in the order of positions."""
    positions, values = map(np.concatenate, zip(*known, strict=True))
    order = np.argsort(positions, kind="stable")
    return positions[order], values[order]

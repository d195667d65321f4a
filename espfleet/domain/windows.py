"""Windows: what is kept of the latest samples of every target.

Targets whose windows have the same lengths share a ``WindowBlock``, one row each; so the work is done for all of them
at once. A row costs 0.7 kB where the interval is 1 s, and 25 kB at most, where it is 10 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from espfleet.domain.quantiles import EMPTY_CODE, LOST_CODE, Array, Codes, Floats, LongWindows, Rows, encode, grown
from espfleet.domain.samples import UNRESOLVED
from espfleet.domain.sizes import SHORT_SAMPLES, Sizes
from espfleet.domain.unknowns import Why

#: So many losses in a row are an outage.
OUTAGE_LOSSES = 5
#: A loss bound is taken over at least so many samples: of the first two lost ones nothing can be said.
_LOSS_FLOOR = 10
#: Standard deviations between the losses counted and the lower bound; about 90 % of all counts lie above it.
LOSS_DEVIATIONS = 1.3
#: Gain of RFC 3550 for a new difference.
_JITTER_GAIN = np.float32(1 / 16)
#: When a row that has no samples was last given one.
NEVER = -(2**62)
#: How far in the future a sample may lie, for not all know at once that a clock was set.
AHEAD_MS = 5_000


@dataclass(frozen=True, slots=True)
class Taken:
    """What a batch did to a block.

    Attributes:
        rows: Rows that took a sample, int64 [n].
        first: Which of them had none before, bool [n].
        unmeasured: Rows that were told that nothing was measured.
    """

    rows: Rows
    first: Array
    unmeasured: Rows


class WindowBlock:
    """The windows of all targets of one size, a row each.

    A lost sample counts as infinitely late in the medians. What was not measured is no sample at all.

    Attributes:
        sizes: Lengths of the windows.
        values: What is known of each row, float32 [5, rows]: loss in percent, of its confidence interval the lower
            end, infinite in an outage; median of the short window; median of the long one; RFC 3550's jitter, its
            differences clipped so that one spike moves it little; baseline. The last four in ms, and a median is
            infinite while more than half of its window is lost. For the order see ``contributions.Kind``.
        outage: Whether each row is red without further ado: after ``OUTAGE_LOSSES`` losses in a row, and while its
            name has no address, bool.
        newest_ms: When the newest sample of each row was sent, ms since the epoch, int64; ``NEVER`` without samples.
        unmeasured_ms: When each row was last told that nothing was measured, int64; ``NEVER`` if it was not.
        silence_ms: After how long without a sample nothing is known of a row: 3 intervals and the timeout, int64.
        known: Whether a sample came and ``fall_silent`` has not said otherwise since, bool.
        ahead: Whether each row was emptied because its samples lay in the future, bool.
        last_us: The latest sample in µs, or a code of ``samples``, float32.
        streak: Losses in a row up to now, int32.
        long: The long windows.
        dropped: Samples refused, for they had been seen or came later than any timeout allows.
    """

    _BY_ROW = (
        "values", "outage", "newest_ms", "unmeasured_ms", "silence_ms", "known", "ahead", "last_us", "streak",
        "_memory_ms", "_span_ms", "_answer_ms", "_short", "_recent", "_place",
    )  # fmt: skip

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.values = np.empty((5, 0), np.float32)
        self.outage = np.empty(0, np.bool_)
        self.newest_ms = np.empty(0, np.int64)
        self.unmeasured_ms = np.empty(0, np.int64)
        self.silence_ms = np.empty(0, np.int64)
        self.known = np.empty(0, np.bool_)
        self.ahead = np.empty(0, np.bool_)
        self.last_us = np.empty(0, np.float32)
        self.streak = np.empty(0, np.int32)
        self.long = LongWindows(sizes.long, sizes.loss)
        self.dropped = 0
        self._memory_ms = np.empty(0, np.int64)
        self._span_ms = np.empty(0, np.int64)
        self._answer_ms = np.empty(0, np.float32)
        self._short = np.empty((sizes.short, 0), np.float32)
        self._recent = np.empty((sizes.recent, 0), np.uint32)
        # Where the latest sample stands in the long window, from which follows where it does in the other two.
        self._place = np.empty(0, np.int64)
        self._short_place = np.arange(sizes.long) % sizes.short
        self._recent_place = np.arange(sizes.long) % sizes.recent
        # Empty places are filled so that the middle of all places is the lower median of those in use.
        signs = np.arange(sizes.short - 1, -1, -1) + sizes.short
        self._pads = np.where(signs % 2, -np.inf, np.inf).astype(np.float32)[:, None]
        losses = np.arange(sizes.loss + 1)
        self._percent = 100 * losses.astype(np.float32)
        self._counted = np.clip(np.arange(sizes.long + 1), 1, sizes.loss).astype(np.float32)
        self._loss_bound = np.maximum(losses - LOSS_DEVIATIONS * np.sqrt(losses), 0).astype(np.float32) * 100
        self._loss_samples = np.clip(np.arange(sizes.long + 1), _LOSS_FLOOR, sizes.loss).astype(np.float32)
        self._free: list[int] = []

    def add_rows(self, intervals_ms: Sequence[int], timeouts_ms: Sequence[int]) -> Rows:
        """Return new empty rows, one for each interval and timeout."""
        missing = len(intervals_ms) - len(self._free)
        if missing > 0:
            before = len(self.newest_ms)
            # Growing by half at least keeps adding one by one cheap.
            after = before + max(missing, before // 2, 8)
            for name in self._BY_ROW:
                setattr(self, name, grown(getattr(self, name), after))
            self.long.resize(after)
            self._free += range(after - 1, before - 1, -1)
        rows = np.array([self._free.pop() for _ in intervals_ms], np.int64)
        self.set_times(rows, intervals_ms, timeouts_ms)
        self.clear(rows)
        self.ahead[rows] = False
        self.unmeasured_ms[rows] = NEVER
        self._recent[:, rows] = 0
        return rows

    def set_times(self, rows: Rows, intervals_ms: Sequence[int], timeouts_ms: Sequence[int]) -> None:
        """Set interval and timeout of some rows, in ms; their samples are kept."""
        interval, timeout = np.array(intervals_ms, np.int64), np.array(timeouts_ms, np.int64)
        self.silence_ms[rows] = 3 * interval + timeout
        self._memory_ms[rows] = 2 * interval + timeout
        self._span_ms[rows] = np.maximum(self.sizes.long_ms, self.sizes.long * interval)

    def remove_rows(self, rows: Rows) -> None:
        """Give some rows back."""
        self.clear(rows)
        self._free += rows.tolist()

    def clear(self, rows: Rows) -> None:
        """Forget all samples of some rows."""
        self.newest_ms[rows] = NEVER
        self.known[rows] = False
        self.values[:, rows] = 0
        self.outage[rows] = False
        self.last_us[rows] = 0
        self.streak[rows] = 0
        self._answer_ms[rows] = np.nan
        self._short[:, rows] = self._pads
        self._place[rows] = -1
        self.long.clear(rows)

    def push(self, rows: Rows, rtt_us: Floats, sent_ms: Rows) -> Taken:
        """Add a batch of samples.

        A sample may come after a later one of its target, for a loss is known only after the timeout. It is taken if
        it is no older than timeout and two intervals, and was not seen before.

        Args:
            rows: Where they belong, int64 [n], without doubles.
            rtt_us: RTT in microseconds or a code of ``samples``, float32 [n].
            sent_ms: When they were sent, int64 [n], ms since the epoch.
        """
        codes = encode(rtt_us)
        before = self.newest_ms.take(rows)
        refused = codes == EMPTY_CODE
        unmeasured = rows[:0]
        late = sent_ms <= before
        if np.count_nonzero(refused):
            unmeasured = rows[refused]
            self.unmeasured_ms[unmeasured] = np.maximum(self.unmeasured_ms[unmeasured], sent_ms[refused])
            late &= ~refused
        if np.count_nonzero(late):
            refused[late] = ~self._unseen(rows[late], sent_ms[late])
            self.dropped += int(np.count_nonzero(late & refused))
        if np.count_nonzero(refused):
            taken = ~refused
            rows, rtt_us, sent_ms, codes, before = (each[taken] for each in (rows, rtt_us, sent_ms, codes, before))
        gap = sent_ms - before > self.sizes.long_ms
        if np.count_nonzero(gap):
            gap[gap] = (sent_ms[gap] - before[gap]) > self._span_ms[rows[gap]]
            self.clear(rows[gap])
        self.newest_ms[rows] = np.maximum(before, sent_ms)
        self.known[rows] = True
        place = self._place.take(rows) + 1
        place *= place != self.sizes.long
        self._place[rows] = place
        width = self._recent.shape[1]
        self._recent.reshape(-1)[self._recent_place.take(place) * width + rows] = sent_ms.astype(np.uint32)
        self._take(rows, place, rtt_us, codes)
        return Taken(rows, gap, unmeasured)

    def _unseen(self, rows: Rows, sent_ms: Rows) -> Array:
        """Return which samples, all older than the newest of their rows, are neither too old nor seen before."""
        recent = self._recent.take(rows, axis=1) == sent_ms.astype(np.uint32)
        young = sent_ms > self.newest_ms[rows] - self._memory_ms[rows]
        unseen: Array = young & ~recent.any(axis=0)
        return unseen

    def _take(self, rows: Rows, place: Rows, rtt_us: Floats, codes: Codes) -> None:
        loss, now, usual, jitters, baseline = self.values
        lost = codes == LOST_CODE
        rtt_ms = rtt_us / np.float32(1_000)
        rtt_ms[lost] = np.nan
        seen = self.long.push(rows, place, codes)

        streak = (self.streak.take(rows) + np.int32(1)) * lost
        outage = (streak >= OUTAGE_LOSSES) | (rtt_us == UNRESOLVED)
        bound = self._loss_bound.take(seen.lost) / self._loss_samples.take(seen.filled)
        if np.count_nonzero(outage):
            bound[outage] = np.inf
        self.last_us[rows] = rtt_us
        self.streak[rows] = streak
        self.outage[rows] = outage
        loss[rows] = bound

        jitter = jitters.take(rows)
        answer = self._answer_ms.take(rows)
        # A difference counts up to what a calm link might show; where either answer is missing there is none.
        change = np.minimum(np.abs(rtt_ms - answer), jitter * 4 + seen.answered_ms * np.float32(0.1)) - jitter
        change[np.isnan(change)] = 0
        jitters[rows] = jitter + change * _JITTER_GAIN
        self._answer_ms[rows] = np.where(lost, answer, rtt_ms)

        rtt_ms[lost] = np.inf
        self._short.reshape(-1)[self._short_place.take(place) * self._short.shape[1] + rows] = rtt_ms
        now[rows] = _middle([column.take(rows) for column in self._short])
        usual[rows] = seen.median_ms
        baseline[rows] = seen.baseline_ms

    def fall_silent(self, now_ms: int) -> Rows:
        """Return the rows of which nothing is known any more at ``now_ms``, each once until a sample comes.

        Those whose newest sample lies in the future are emptied, even if nothing was known of them before: a clock was
        wrong, and nothing sent before that moment would be taken.
        """
        age_ms = now_ms - self.newest_ms
        rows = np.flatnonzero((self.known & (age_ms > self.silence_ms)) | (age_ms < -AHEAD_MS))
        if len(rows):
            self.known[rows] = False
            ahead = rows[age_ms[rows] < 0]
            self.clear(ahead)
            self.ahead[ahead] = True
        return rows

    def why_unknown(self, rows: Rows) -> npt.NDArray[np.int8]:
        """Return for each row, known or not, the ``Why`` it has while it is unknown, int8."""
        newest, unmeasured = self.newest_ms.take(rows), self.unmeasured_ms.take(rows)
        why = np.where(self.known.take(rows), Why.SECOND, np.where(unmeasured > newest, Why.UNMEASURED, Why.SILENT))
        empty = np.where(unmeasured > newest, Why.UNMEASURED, np.where(self.ahead.take(rows), Why.AHEAD, Why.NONE_YET))
        return np.where(self.long.filled.take(rows) == 0, empty, why).astype(np.int8)

    def lost_percent(self, rows: Rows) -> Floats:
        """Return the share of the latest samples that were lost, in percent, float32; 0 without samples."""
        lost: Floats = self._percent.take(self.long.lost.take(rows)) / self._counted.take(self.long.filled.take(rows))
        return lost


def _middle(columns: list[Floats]) -> Floats:
    """Return the lower median across columns."""
    if len(columns) != SHORT_SAMPLES:
        rank = (len(columns) - 1) // 2
        middle: Floats = np.partition(np.stack(columns, axis=1), rank, axis=1)[:, rank]
        return middle
    # Ten comparisons find the median of five; sorting each row would take thirty times as long.
    a, b, c, d, e = columns
    low = np.maximum(np.minimum(a, b), np.minimum(c, d))
    high = np.minimum(np.maximum(a, b), np.maximum(c, d))
    return np.maximum(np.minimum(e, low), np.minimum(np.maximum(e, low), high))

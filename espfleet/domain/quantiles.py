"""Long windows: the latest samples of many targets, one byte each, and two quantiles of them.

A sample is kept as the number of a logarithmic bin, ``BINS_PER_OCTAVE`` to a doubling from ``FIRST_US`` on. A
histogram beside each window and a pointer into it for each quantile make a new sample cheap: the pointer moves a few
bins, whatever the length of the window. A quantile is the centre of the bin that holds the sample of its rank, so it
is off by at most ``BIN_ERROR`` of its value (3.7 %), as long as that lies between 8 µs and 17 s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
Codes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Array = npt.NDArray[Any]

BINS_PER_OCTAVE = 12
FIRST_US = 8.0
LOST_CODE = 0
#: A place that holds no sample; of a sample, that nothing was measured.
EMPTY_CODE = 255
_CODES = 256
_TOP_BIN = 254
#: A float32 is looked up by its upper half, sign, exponent and seven bits of the fraction: no logarithm is taken.
_HALF = 16
_INFINITE, _MINUS_ZERO, _MINUS_TWO = 0x7F80, 0x8000, 0xC000


def _tables() -> tuple[Codes, Floats, float]:
    """Return the code of each upper half of a float32, the centre of each bin in ms, and the largest error."""
    heads = np.arange(1, _INFINITE, dtype=np.uint32)
    low = (heads << _HALF).view(np.float32).astype(float)
    high = low * (1 + 1 / (128 + (heads & 127)))
    bins = 1 + np.floor(np.log2(np.sqrt(low * high) / FIRST_US) * BINS_PER_OCTAVE)
    codes = np.full(1 << _HALF, LOST_CODE, np.uint8)
    codes[[0, _MINUS_ZERO]] = 1
    codes[1:_INFINITE] = np.clip(bins, 1, _TOP_BIN)
    codes[_MINUS_ZERO + 1 : _MINUS_TWO] = EMPTY_CODE
    centres = np.zeros(_CODES, np.float32)
    errors = []
    for code in range(1, _TOP_BIN + 1):
        inside = np.flatnonzero(codes[1:_INFINITE] == code)
        # The first and the last bin also hold all that lies beyond them; their centres are those of their proper parts.
        bottom = FIRST_US if code == 1 else low[inside[0]]
        top = low[inside[0]] * 2 ** (1 / BINS_PER_OCTAVE) if code == _TOP_BIN else high[inside[-1]]
        centres[code] = math.sqrt(bottom * top) / 1_000
        errors.append(math.sqrt(top / bottom) - 1)
    return codes, centres, max(errors)


_CODE_OF_HEAD, CENTRE_MS, BIN_ERROR = _tables()
_CENTRE_MS_OF_POINTER = np.ascontiguousarray(CENTRE_MS[1:])


def encode(rtt_us: Floats) -> Codes:
    """Return the bin of each sample, 1 to 254, or ``LOST_CODE``, or ``EMPTY_CODE`` where nothing was measured."""
    return _CODE_OF_HEAD.take(rtt_us.view(np.uint32) >> _HALF)


def grown(array: Array, rows: int, axis: int = -1) -> Array:
    """Return ``array`` made ``rows`` long; what was there is kept, the rest is zero."""
    shape = list(array.shape)
    shape[axis] = rows - shape[axis]
    return np.concatenate((array, np.zeros(shape, array.dtype)), axis=axis)


@dataclass(frozen=True, slots=True)
class Seen:
    """What long windows hold after a push, for the rows in the order they were given.

    Attributes:
        filled: Samples in the window, 1 or more, int32.
        lost: Lost ones among the latest ``tail``, int32.
        baseline_ms: P20 of the answered samples, float32; meaningless where there are none.
        answered_ms: The median while it is finite, else the longest answer, float32; meaningless where there is none.
        median_ms: Median of all samples, float32; infinite where more than half are lost.
    """

    filled: Array
    lost: Array
    baseline_ms: Floats
    answered_ms: Floats
    median_ms: Floats


class LongWindows:
    """The latest samples of each row, with their baseline (P20) and median.

    The baseline counts the answered samples alone. The median counts a lost one as later than any answer.

    Attributes:
        samples: Length of a window.
        tail: Length of its latest part, over which losses are counted; below ``samples``.
        filled: Samples in each window, int32 [rows].
        lost: Lost ones among the latest ``tail``, int32 [rows].
    """

    _BY_ROW = ("_ring", "_answered", "_pointer", "_below", "filled", "lost")

    def __init__(self, samples: int, tail: int) -> None:
        self.samples = samples
        self.tail = tail
        # While a count fits into a byte, half the memory has to be walked through.
        self._one: Any = np.uint8(1) if samples < _CODES else np.uint16(1)
        # Time by row: rows that are given samples together then have them side by side in memory.
        self._ring = np.empty((samples, 0), np.uint8)
        self._counts = np.empty((0, _CODES), self._one.dtype)
        self._answered = np.empty(0, np.int32)
        # Kept less one, for in bytes a lost (0) and an empty (255) code less one lie above every pointer.
        self._pointer = np.empty((2, 0), np.uint8)
        self._below = np.empty((2, 0), np.int32)
        self.filled = np.empty(0, np.int32)
        self.lost = np.empty(0, np.int32)
        self._tail_place = (np.arange(samples) - tail) % samples
        before_last = np.maximum(np.arange(samples + 1) - 1, 0)
        self._baseline_rank = (before_last // 5).astype(np.int32)
        self._median_rank = (before_last // 2).astype(np.int32)

    def resize(self, rows: int) -> None:
        """Make room for ``rows`` rows; the new ones are to be cleared before use."""
        self._counts = grown(self._counts, rows, 0)
        for name in self._BY_ROW:
            setattr(self, name, grown(getattr(self, name), rows))

    def clear(self, rows: Rows) -> None:
        """Empty the windows of some rows."""
        self._ring[:, rows] = EMPTY_CODE
        self._counts[rows] = 0
        self._counts[rows, EMPTY_CODE] = self.samples
        self._pointer[:, rows] = 0
        self._below[:, rows] = 0
        self._answered[rows] = 0
        self.filled[rows] = 0
        self.lost[rows] = 0

    def push(self, rows: Rows, place: Rows, codes: Codes) -> Seen:
        """Add one sample to each row.

        Args:
            rows: The rows, int64 [n], without doubles.
            place: Place of the sample in each window, int64 [n]: for each row from 0 on, and 0 again after the last.
            codes: The samples, none of them ``EMPTY_CODE``.
        """
        ring, counts, width = self._ring.reshape(-1), self._counts.reshape(-1), self._ring.shape[1]
        newest = place * width + rows
        leaving = ring.take(newest)
        ring[newest] = codes
        out_of_tail = ring.take(self._tail_place.take(place) * width + rows)
        lost = self.lost.take(rows) + _less(codes == LOST_CODE, out_of_tail == LOST_CODE)
        self.lost[rows] = lost
        filled = self.filled.take(rows) + (leaving == EMPTY_CODE)
        self.filled[rows] = filled
        codes_less, leaving_less = codes - np.uint8(1), leaving - np.uint8(1)
        answered = self._answered.take(rows) + _less(codes_less < _TOP_BIN, leaving_less < _TOP_BIN)
        self._answered[rows] = answered

        starts = rows * _CODES
        place = starts + codes
        counts[place] = counts.take(place) + self._one
        place = starts + leaving
        counts[place] = counts.take(place) - self._one

        median_rank = self._median_rank.take(filled)
        # Of no answers the rank is -1: there is no bin to look for, and the pointers stay.
        rank = np.minimum((self._baseline_rank.take(answered), median_rank), answered - np.int32(1))
        baseline, answered_ms = self._move(rows, starts + 1, codes_less, leaving_less, rank)
        median = answered_ms
        infinite = median_rank >= answered
        if np.count_nonzero(infinite):
            median = answered_ms.copy()
            median[infinite] = np.inf
        return Seen(filled, lost, baseline, answered_ms, median)

    def _move(self, rows: Rows, starts: Rows, came: Codes, went: Codes, rank: Array) -> Floats:
        """Move both pointers to the bins of their ranks: below <= rank < below + what the bin holds.

        Returns:
            Baseline and median, float32 [2, n].
        """
        counts = self._counts.reshape(-1)
        pointers, belows = self._pointer.reshape(-1), self._below.reshape(-1)
        both = np.concatenate((rows, rows + self._pointer.shape[1]))
        starts = np.concatenate((starts, starts))
        pointer, below = pointers.take(both), belows.take(both)
        halves = pointer.reshape(2, -1)
        below += _less(came < halves, went < halves).reshape(-1)
        rank = rank.reshape(-1)
        down = np.flatnonzero(below > np.maximum(rank, 0))
        while len(down):
            pointer[down] -= np.uint8(1)
            below[down] -= counts.take(starts.take(down) + pointer.take(down))
            down = down[below.take(down) > rank.take(down)]
        up = np.flatnonzero(below + counts.take(starts + pointer) <= rank)
        while len(up):
            below[up] += counts.take(starts.take(up) + pointer.take(up))
            pointer[up] += np.uint8(1)
            up = up[below.take(up) + counts.take(starts.take(up) + pointer.take(up)) <= rank.take(up)]
        pointers[both] = pointer
        belows[both] = below
        centres: Floats = _CENTRE_MS_OF_POINTER.take(halves)
        return centres


def _less(plus: npt.NDArray[np.bool_], minus: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    return plus.view(np.int8) - minus.view(np.int8)

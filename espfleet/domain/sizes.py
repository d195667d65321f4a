"""Sizes: how many samples the windows of a target hold.

Windows are given in seconds and counted in samples, so their lengths follow from the interval. The shortest interval
allowed, 10 ms, bounds them: 18,000 samples of one byte in the long window, 300 of four in the short one.
"""

from __future__ import annotations

from dataclasses import dataclass

from espfleet.domain.targets import TIMEOUT_MS

#: Length of each window, and the samples it has at least, whatever the interval.
SHORT_MS, SHORT_SAMPLES = 3_000, 5
LONG_MS, LONG_SAMPLES = 180_000, 60
LOSS_MS, LOSS_SAMPLES = 60_000, 20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths in samples: of the windows, and of the memory for telling a late sample from a repeated one."""

    short: int
    long: int
    loss: int
    recent: int


def sizes_of(interval_ms: int) -> Sizes:
    """Return how many samples the windows of a target hold that is probed every ``interval_ms``.

    The memory is rounded up to a multiple of the short window and the long window to one of the memory, so that one
    place says where the next sample goes in all of them.
    """
    short = max(SHORT_SAMPLES, -(-SHORT_MS // interval_ms))
    recent = _multiple(TIMEOUT_MS[1] // interval_ms + 2, short)
    return Sizes(
        short=short,
        long=_multiple(max(LONG_SAMPLES, -(-LONG_MS // interval_ms)), recent),
        loss=max(LOSS_SAMPLES, -(-LOSS_MS // interval_ms)),
        recent=recent,
    )


def _multiple(least: int, of: int) -> int:
    return -(-least // of) * of

"""Sizes: how many samples the windows of a target hold.

Windows are given in time and counted in samples, so their lengths follow from the interval. The shortest interval
allowed, 10 ms, bounds them: at the usual lengths, 18,000 samples of one byte in the long window, 300 of four in the
short one.
"""

from __future__ import annotations

from dataclasses import dataclass

from espfleet.domain.targets import TIMEOUT_MS

#: Samples that a window has at least, whatever its length and the interval.
SHORT_SAMPLES, LONG_SAMPLES, LOSS_SAMPLES = 5, 60, 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """How long the past counts; all that judges the same samples must have the same.

    Attributes:
        short_ms: Window of the present latency.
        long_ms: Window of the usual latency, and of the baseline that jumps are seen against.
        loss_ms: Window of the loss.
        clear_after_ms: How long a level must have been low before its band is cleared.
    """

    short_ms: int = 3_000
    long_ms: int = 180_000
    loss_ms: int = 60_000
    clear_after_ms: int = 5_000


USUAL = Memory()


@dataclass(frozen=True, slots=True)
class Sizes:
    """Lengths in samples: of the windows, and of the memory for telling a late sample from a repeated one.

    After a gap of ``long_ms`` the windows begin anew.
    """

    short: int
    long: int
    loss: int
    recent: int
    long_ms: int = USUAL.long_ms


def sizes_of(interval_ms: int, memory: Memory = USUAL) -> Sizes:
    """Return how many samples the windows of a target hold that is probed every ``interval_ms``.

    The memory is rounded up to a multiple of the short window and the long window to one of the memory, so that one
    place says where the next sample goes in all of them.
    """
    short = max(SHORT_SAMPLES, -(-memory.short_ms // interval_ms))
    recent = _multiple(TIMEOUT_MS[1] // interval_ms + 2, short)
    return Sizes(
        short=short,
        long=_multiple(max(LONG_SAMPLES, -(-memory.long_ms // interval_ms)), recent),
        loss=max(LOSS_SAMPLES, -(-memory.loss_ms // interval_ms)),
        recent=recent,
        long_ms=memory.long_ms,
    )


def _multiple(least: int, of: int) -> int:
    return -(-least // of) * of

"""How well pictures of a camera arrive: S4's figures, by S4's definitions."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from espfleet.domain.pictures import Size

#: Intervals that the figures are made of, and arrivals that are kept for that.
INTERVALS = 20
ARRIVALS = INTERVALS + 1
#: Arrivals that the present rate is made of.
RECENT = 10
#: Fewer intervals than this say little about what is usual.
ENOUGH = 10
INTERVAL_MS = (100, 10_000)
WAITING = "WAITING_FOR_DATA"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A picture came: when, in seconds since the epoch; how big it was; how long it was handled, in ms."""

    at_s: float
    size_bytes: int
    taken_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """What is known of a camera's pictures.

    Attributes:
        arrivals: The latest ``ARRIVALS``, oldest first.
        total: Pictures that came.
        dropped: Pictures among them that a newer one replaced before anybody could see them.
        size: Width and height of the latest in pixels, or ``None`` where it does not say.
        wanted_ms: Interval that the camera was told, or ``None`` while it does as it likes.
    """

    arrivals: Sequence[Arrival] = field(default=())
    total: int = 0
    dropped: int = 0
    size: Size | None = None
    wanted_ms: int | None = None

    @property
    def intervals_s(self) -> list[float]:
        """Seconds between the latest pictures."""
        # A clock that was set back makes no negative interval.
        return [max(after.at_s - before.at_s, 0.0) for before, after in itertools.pairwise(self.arrivals)][-INTERVALS:]

    @property
    def fps(self) -> float:
        """Pictures a second now: over the last ten arrivals."""
        recent = self.arrivals[-RECENT:]
        span_s = recent[-1].at_s - recent[0].at_s if recent else 0.0
        return (len(recent) - 1) / span_s if span_s > 0 else 0.0

    @property
    def target_s(self) -> float:
        """Interval that is aimed at: what the camera was told, else what is usual; 0 while nothing is known."""
        if self.wanted_ms is not None:
            return self.wanted_ms / 1_000
        return _usual_s(self.intervals_s)

    @property
    def target_fps(self) -> float:
        """The same in pictures a second."""
        return 1 / self.target_s if self.target_s > 0 else 0.0

    @property
    def avg_fps(self) -> float:
        """Pictures a second over the latest intervals."""
        intervals_s = self.intervals_s
        mean_s = statistics.fmean(intervals_s) if intervals_s else 0.0
        return 1 / mean_s if mean_s > 0 else 0.0

    @property
    def jitter_s(self) -> float:
        """Standard deviation of the latest intervals, in seconds."""
        intervals_s = self.intervals_s
        return statistics.pstdev(intervals_s) if intervals_s else 0.0

    @property
    def efficiency(self) -> float:
        """How much of what is aimed at is reached, in percent.

        Without an interval that was told: how near mean and median of the intervals are; 50 while there are few.
        """
        intervals_s = self.intervals_s
        if self.wanted_ms is not None:
            return self.avg_fps / self.target_fps * 100
        median_s = statistics.median_high(intervals_s) if intervals_s else 0.0
        if len(intervals_s) < ENOUGH or median_s <= 0:
            return 50.0 if intervals_s else 0.0
        away = abs(statistics.fmean(intervals_s) - median_s) / median_s
        return min(max((1 - away) * 100, 0.0), 100.0)

    @property
    def recommendation(self) -> str:
        """S4's word for it."""
        if not self.intervals_s:
            return WAITING
        if self.efficiency > 95:
            return "OPTIMAL"
        if self.efficiency > 85:
            return "GOOD"
        if self.efficiency > 70:
            return "UNSTABLE" if self.jitter_s > 0.5 else "FAIR"
        if statistics.fmean(self._taken_ms) > 50:
            return "SLOW"
        return "UNSTABLE" if self.jitter_s > 1.0 else "POOR"

    @property
    def _taken_ms(self) -> list[float]:
        return [arrival.taken_ms for arrival in self.arrivals[-INTERVALS:]]

    def fps_fields(self) -> dict[str, Any]:
        """Return what ``/video_fps`` tells."""
        return {
            "fps": round(self.fps, 2),
            "target_fps": round(self.target_fps, 1),
            "interval_ms": round(self.target_s * 1_000),
            **self._size_fields(),
        }

    def stats_fields(self) -> dict[str, Any]:
        """Return what ``/video_stats`` tells."""
        intervals_s = self.intervals_s or [0.0]
        sizes = [arrival.size_bytes for arrival in self.arrivals[-INTERVALS:]] or [0]
        taken_ms = self._taken_ms or [0.0]
        return {
            "avg_interval": round(statistics.fmean(intervals_s), 3),
            "min_interval": round(min(intervals_s), 3),
            "max_interval": round(max(intervals_s), 3),
            "jitter": round(self.jitter_s, 3),
            "avg_fps": round(self.avg_fps, 3),
            "target_fps": round(self.target_fps, 1),
            "avg_size": round(statistics.fmean(sizes)),
            "min_size": min(sizes),
            "max_size": max(sizes),
            "avg_processing": round(statistics.fmean(taken_ms), 2),
            "max_processing": round(max(taken_ms), 2),
            "total_frames": self.total,
            "dropped_frames": self.dropped,
            "efficiency": round(self.efficiency, 1),
            "recommendation": self.recommendation,
            "current_fps": round(self.fps, 2),
            **self._size_fields(),
        }

    def _size_fields(self) -> dict[str, Any]:
        width, height = self.size or (0, 0)
        return {
            "width": width,
            "height": height,
            "resolution": f"{width}x{height}" if self.size else "Unknown",
        }


def _usual_s(intervals_s: Sequence[float]) -> float:
    if not intervals_s:
        return 0.0
    return statistics.median_high(intervals_s) if len(intervals_s) >= ENOUGH else statistics.fmean(intervals_s)

"""Memory, open files and threads of processes over time, and how fast they grow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FIGURES = ("memory MB", "files", "threads")
#: A process settles first: caches fill, windows grow to their length.
WARM_SHARE = 0.4
BUCKET_S = 60.0
#: What an idle lamp may take in a gateway, as promised.
LAMP_BYTES = 4 * 1_024
#: Points of a curve in text.
POINTS = 8


@dataclass
class Curve:
    """What one process used: seconds since the start, and a value of each figure."""

    times_s: list[float] = field(default_factory=list)
    values: list[tuple[float, float, float]] = field(default_factory=list)

    def slope(self, figure: int) -> float:
        """Return the growth of a figure in units an hour after warming up: of the two halves, the smaller one.

        What grows, grows in both; one step, as of a worker that takes up a duty, is none.
        """
        first = self.times_s[0] + WARM_SHARE * (self.times_s[-1] - self.times_s[0])
        half = (first + self.times_s[-1]) / 2
        return min(self._slope(figure, first, half), self._slope(figure, half, self.times_s[-1]), key=abs)

    def _slope(self, figure: int, first: float, last: float) -> float:
        rows = zip(self.times_s, self.values, strict=True)
        kept = [(at_s, row[figure]) for at_s, row in rows if first <= at_s <= last]
        if len(kept) < 8:
            return 0.0
        # Of minutes the middle, and of all pairs of minutes the middle: a moment of stress is no growth.
        minutes: dict[int, list[float]] = {}
        for at_s, value in kept:
            minutes.setdefault(int((at_s - first) // BUCKET_S), []).append(value)
        times = np.array(list(minutes)) * BUCKET_S / 3_600
        values = np.array([median(some) for some in minutes.values()])
        early, late = np.triu_indices(len(times), 1)
        if not len(early):
            return 0.0
        return float(np.median((values[late] - values[early]) / (times[late] - times[early])))

    def growth(self, figure: int) -> float:
        """Return how much higher the last quarter is than the one after warming up."""
        rows = [row[figure] for row in self.values]
        first, quarter = int(len(rows) * WARM_SHARE), max(1, len(rows) // 4)
        return median(rows[-quarter:]) - median(rows[first : first + quarter])


def look(pid: int, port: int = 0) -> tuple[float, float, float] | None:
    """Return memory in MB, open files and threads of a process, or ``None`` if it has gone.

    Of a gateway, what it needs for the lamps that are connected to its port is left out: they come and go.
    """
    folder = Path(f"/proc/{pid}")
    try:
        pages = int((folder / "statm").read_text().split()[1])
        threads = int((folder / "stat").read_text().rpartition(")")[2].split()[17])
        files, lamps = len(list((folder / "fd").iterdir())), _connected(folder, port) if port else 0
        return (pages * PAGE_BYTES - lamps * LAMP_BYTES) / 1e6, float(files - lamps), float(threads)
    except (OSError, IndexError, ValueError):
        return None


def _connected(folder: Path, port: int) -> int:
    """Return how many connections there are to a port of this machine."""
    here, established = f":{port:04X}", "01"
    rows = [line.split() for line in (folder / "net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(here) and row[3] == established for row in rows)


def text(curves: Mapping[str, Curve]) -> str:
    """Return a table of the slopes."""
    lines = [f"{'process':<24}{'for':>8}" + "".join(f"{figure:>12}{'an hour':>10}" for figure in FIGURES)]
    for name, curve in curves.items():
        cells = "".join(f"{curve.values[-1][n]:>12.1f}{curve.slope(n):>+10.2f}" for n in range(len(FIGURES)))
        lines.append(f"{name:<24}{curve.times_s[-1] - curve.times_s[0]:>6.0f} s{cells}   {_course(curve)}")
    return "\n".join(lines)


def _course(curve: Curve) -> str:
    """Return the memory of each eighth of the time."""
    parts = np.array_split([row[0] for row in curve.values], POINTS)
    return "memory " + " ".join(f"{median(part):.1f}" for part in parts if len(part))


def svg(curves: Mapping[str, Curve], width: int = 900, height: int = 220) -> str:
    """Return one chart for each figure, a line for each process."""
    until_s = max((curve.times_s[-1] for curve in curves.values()), default=1.0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{len(FIGURES) * height}" '
        'font-family="sans-serif" font-size="11">'
    ]
    for number, figure in enumerate(FIGURES):
        top = number * height
        most = max((row[number] for curve in curves.values() for row in curve.values), default=1.0) * 1.1 or 1.0
        parts.append(f'<text x="8" y="{top + 14}">{figure}, up to {most:.0f}, over {until_s / 60:.0f} min</text>')
        for index, (name, curve) in enumerate(curves.items()):
            across, down = (width - 220) / until_s, (height - 45) / most
            points = " ".join(
                f"{60 + at_s * across:.1f},{top + height - 20 - row[number] * down:.1f}"
                for at_s, row in _thinned(curve)
            )
            colour = f"hsl({index * 137 % 360} 60% 40%)"
            parts.append(f'<polyline fill="none" stroke="{colour}" points="{points}"/>')
            parts.append(
                f'<text x="{width - 150}" y="{top + 30 + 13 * index}" fill="{colour}">{name} '
                f"{curve.slope(number):+.2f}/h</text>"
            )
    return "\n".join([*parts, "</svg>", ""])


def _thinned(curve: Curve, most: int = 300) -> Sequence[tuple[float, tuple[float, float, float]]]:
    step = max(1, len(curve.times_s) // most)
    return list(zip(curve.times_s, curve.values, strict=True))[::step]

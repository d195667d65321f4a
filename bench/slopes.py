"""Straight lines through what was measured at several sizes: what one more of something costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

#: How many of each thing there were, and what each thing that is counted came to.
Point = tuple[Mapping[str, float], Mapping[str, float]]


@dataclass(frozen=True)
class Line:
    """A straight line in one or several directions.

    Attributes:
        base: What there is without any of them.
        slopes: What one more of each costs, by its name.
        off: How far the points lie off the line: root of the mean square, as a share of the largest point.
        points: How many there are.
    """

    base: float
    slopes: Mapping[str, float]
    off: float
    points: int

    def in_words(self) -> str:
        """Return how far this line can be trusted."""
        return f"straight line through {self.points} points, which lie {self.off:.1%} of the largest off it"


def fit(points: Sequence[Mapping[str, float]], costs: Sequence[float]) -> Line:
    """Return the line that lies nearest to all points.

    Args:
        points: How many of each thing there were; all with the same names.
        costs: What each point cost.

    Raises:
        ValueError: If there are fewer points than there is to find out, or some of it always went together.
    """
    names = list(points[0])
    sizes = np.array([[1.0, *(point[name] for name in names)] for point in points])
    # Numbers of lamps and of bytes are far apart; without this the smaller ones would drown.
    scale = np.maximum(np.abs(sizes).max(axis=0), 1e-300)
    if len(points) <= len(names) or np.linalg.matrix_rank(sizes / scale) <= len(names):
        raise ValueError(f"{len(points)} points do not tell apart what {', '.join(names)} cost")
    wanted = np.array(costs, float)
    found = np.linalg.lstsq(sizes / scale, wanted, rcond=None)[0] / scale
    largest = float(np.abs(wanted).max())
    off = float(np.sqrt(((sizes @ found - wanted) ** 2).mean())) / largest if largest else 0.0
    return Line(float(found[0]), dict(zip(names, found[1:].tolist(), strict=True)), off, len(points))


def line(points: Sequence[Point], cost: str, *names: str) -> Line:
    """Return the line through one of the costs of points, over these things, or over all."""
    sizes = [{name: sizes[name] for name in names or sizes} for sizes, _ in points]
    return fit(sizes, [costs[cost] for _, costs in points])

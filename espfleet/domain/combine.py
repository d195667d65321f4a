"""Combine: the levels of a group's targets become one.

Every rule is a rank from the worst: ``worst`` takes the 1st, ``quorum`` N the Nth (the last of fewer), ``median`` the
one in the middle, the worse of two.
"""

from __future__ import annotations

import numpy as np

from espfleet.domain.groups import Combine
from espfleet.domain.quantiles import Array, Rows
from espfleet.domain.states import ORANGE_LEVEL
from espfleet.domain.unknowns import UNKNOWN

_LEVEL_SHIFT = 32
_LAST = (1 << _LEVEL_SHIFT) - 1


def rank_of(combine: Combine, quorum: int, members: int) -> int:
    """Return which member decides, counted from the worst, 1 to ``members`` (1 or more)."""
    if combine is Combine.QUORUM:
        return min(quorum, members)
    return members - members // 2 if combine is Combine.MEDIAN else 1


def combine(levels: Array, counts: Rows, ranks: Rows) -> tuple[Rows, Rows]:
    """Return the level of each group, or ``UNKNOWN``, and the position of the member that decides it, int64.

    A member of which nothing is known might be anything from 0 to 100. A group's level is the one it has if it is 0,
    provided that this is orange or red or that 100 would give the same band; else it is unknown, and its first unknown
    member decides.

    Args:
        levels: Levels of the members, group after group, 0 to 100 or ``UNKNOWN``.
        counts: Members of each group, 1 or more, int64.
        ranks: ``rank_of`` each group, int64.
    """
    starts = np.cumsum(counts) - counts
    positions = np.arange(len(levels), dtype=np.int64)
    unknown = levels == UNKNOWN
    least = _ranked(np.maximum(levels, 0), positions, starts, counts, ranks)
    best, deciders = least >> _LEVEL_SHIFT, _LAST - (least & _LAST)
    if unknown.any():
        most = _ranked(np.where(unknown, 100, levels), positions, starts, counts, ranks)
        worst = most >> _LEVEL_SHIFT
        # Below orange there is one band only, so "the same band" is "worst is green too".
        lost = (best < ORANGE_LEVEL) & (worst >= ORANGE_LEVEL)
        first_unknown = np.minimum.reduceat(np.where(unknown, positions, _LAST), starts)
        best[lost] = UNKNOWN
        deciders[lost] = first_unknown[lost]
    return best, deciders


def _ranked(levels: Array, positions: Rows, starts: Rows, counts: Rows, ranks: Rows) -> Rows:
    """Return the level at the rank of each group with the position of its member, as one number."""
    keys = (levels.astype(np.int64) << _LEVEL_SHIFT) | (_LAST - positions)
    found: Rows = np.maximum.reduceat(keys, starts)
    deep = np.flatnonzero(ranks > 1)
    if len(deep):
        group = np.repeat(np.arange(len(counts)), counts)
        inside = np.flatnonzero((ranks > 1)[group])
        order = inside[np.lexsort((-keys[inside], group[inside]))]
        first = np.cumsum(counts[deep]) - counts[deep]
        found[deep] = keys[order[first + ranks[deep] - 1]]
    return found

"""Members: targets as their groups see them, each under the group's thresholds.

A target is measured once and judged once for each group it is in. One in no group is judged by the default preset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from espfleet.domain.bands import Bands
from espfleet.domain.blocks import BLOCK_SHIFT, ROW_MASK, Blocks
from espfleet.domain.combine import rank_of
from espfleet.domain.contributions import marks_of
from espfleet.domain.groups import DEFAULT_PRESET, PRESETS, Group
from espfleet.domain.quantiles import Array, Rows
from espfleet.domain.unknowns import UNKNOWN


@dataclass(frozen=True, slots=True)
class _OfBlock:
    """Members of the rows of one block: ``members[starts[row]:][:counts[row]]``; if single, ``starts`` has them."""

    starts: Rows
    counts: Rows
    members: Rows
    single: bool


class Members:
    """All pairs of group and target, group after group; behind them the targets in no group.

    Attributes:
        groups: The groups, in the order of their numbers.
        names: Their names.
        targets: Name of the target of each member.
        group: Number of its group, int64; ``len(groups)`` for none.
        row: Row of its target in the book, int64.
        shown: Level to show, 0 to 100, or ``UNKNOWN``, int16.
        cause: What decided its level last while that was not green, int8; see ``contributions.Cause``.
        bands: Its band.
        marks: Thresholds of each group and, last, of the default preset, float32 [MARKS, groups + 1].
        at_once: Whether any group has a threshold that makes a single sample red.
        paused: Whether each group is paused, bool.
        starts, counts, ranks: First member, members, and rank that decides, of each group, int64.
    """

    def __init__(self, groups: Mapping[str, Group], blocks: Blocks) -> None:
        rows = blocks.rows
        self._all_blocks = blocks
        self.groups = tuple(groups.values())
        self.names = tuple(group.name for group in self.groups)
        thresholds = [*(group.thresholds for group in self.groups), PRESETS[DEFAULT_PRESET]]
        self.marks = np.array([marks_of(each) for each in thresholds], np.float32).T.copy()
        self.at_once = any(each.at_once_red_ms is not None for each in thresholds)
        members = [[target for target in group.targets if target in rows] for group in self.groups]
        grouped = {target for targets in members for target in targets}
        members.append([target for target in rows if target not in grouped])
        self.targets = [target for targets in members for target in targets]
        counts = np.array([len(targets) for targets in members], np.int64)
        self.group = np.repeat(np.arange(len(members)), counts)
        self.counts = counts[:-1]
        self.starts = np.cumsum(self.counts) - self.counts
        self.ranks = np.array(
            [rank_of(group.combine, group.quorum, len(of)) for group, of in zip(self.groups, members, strict=False)],
            np.int64,
        )
        self.row = np.array([rows[target] for target in self.targets], np.int64)
        self.shown = np.full(len(self.targets), UNKNOWN, np.int16)
        self.cause = np.zeros(len(self.targets), np.int8)
        self.bands = Bands(blocks.memory.clear_after_ms)
        self.bands.resize(len(self.targets))
        self.bands.clear(np.arange(len(self.targets)))
        self.paused = np.array([group.paused for group in self.groups], np.bool_)
        self._of_block = self._by_block()

    def _by_block(self) -> dict[int, _OfBlock]:
        found = {}
        for block in np.unique(self.row >> BLOCK_SHIFT).tolist():
            members = np.flatnonzero(self.row >> BLOCK_SHIFT == block)
            rows = self.row[members] & ROW_MASK
            order = np.argsort(rows, kind="stable")
            counts = np.bincount(rows)
            starts = np.cumsum(counts) - counts
            single = int(counts.max()) == 1
            if single:
                starts[rows[order]] = members[order]
            found[block] = _OfBlock(starts, counts, members[order], single)
        return found

    def carry(self, before: Members) -> Rows:
        """Take over what is known of the members that stay under equal thresholds; return the others."""
        thresholds_before = {group.name: group.thresholds for group in before.groups}
        equal = [thresholds_before.get(group.name) == group.thresholds for group in self.groups]
        names_before = [*(group.name for group in before.groups), None]
        at = {(names_before[group], target): member for member, (group, target) in enumerate(before.pairs())}
        names = [*(group.name for group in self.groups), None]
        equal.append(True)
        source = np.array(
            [at.get((names[group], target), -1) if equal[group] else -1 for group, target in self.pairs()], np.int64
        )
        kept = np.flatnonzero(source >= 0)
        self.shown[kept] = before.shown[source[kept]]
        self.cause[kept] = before.cause[source[kept]]
        if len(kept):
            # A target that starts again has no level until its next sample.
            self.shown[kept[~self._all_blocks.gather(self.row[kept], lambda block, rows: block.known.take(rows))]] = (
                UNKNOWN
            )
        self.bands.copy(kept, before.bands, source[kept])
        return np.flatnonzero(source < 0)

    def pairs(self) -> list[tuple[int, str]]:
        """Return number of the group and name of the target of each member."""
        return list(zip(self.group.tolist(), self.targets, strict=True))

    def of_rows(self, block: int, rows: Rows) -> tuple[Rows, Rows]:
        """Return the members of some rows of a block, and the row of each of them."""
        of = self._of_block[block]
        starts = of.starts.take(rows)
        if of.single:
            return starts, rows
        counts = of.counts.take(rows)
        return of.members.take(spread(starts, counts)), np.repeat(rows, counts)

    def worst(self, block: int, rows: Rows) -> Array:
        """Return the highest level that any group shows of some rows of a block, or ``UNKNOWN``, int16."""
        members, _ = self.of_rows(block, rows)
        of = self._of_block[block]
        if of.single:
            return self.shown.take(members)
        counts = of.counts.take(rows)
        worst: Array = np.maximum.reduceat(self.shown.take(members), np.cumsum(counts) - counts)
        return worst


def spread(starts: Array, counts: Array) -> Rows:
    """Return ``starts[0]``, ``starts[0] + 1`` … ``counts[0]`` of them, then those of ``starts[1]`` and so on."""
    before = np.cumsum(counts) - counts
    spread_out: Rows = np.repeat(starts - before, counts) + np.arange(int(counts.sum()))
    return spread_out

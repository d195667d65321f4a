"""Levels: from samples to what the lamps of each group show.

``LevelBook`` keeps the windows of all targets and the bands of all their groups. Samples come in by ``add``, in any
batches; each moves the bands of its target, so levels do not depend on how often ``evaluate`` is called.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from espfleet.domain.bands import GREEN
from espfleet.domain.blocks import Blocks, in_order
from espfleet.domain.combine import combine
from espfleet.domain.contributions import FULL_LEVEL, Cause, calm_levels, hot_levels, red_at_once
from espfleet.domain.explain import Explanation, explain
from espfleet.domain.groups import Group
from espfleet.domain.members import Members, spread
from espfleet.domain.names import nearest
from espfleet.domain.packing import pack
from espfleet.domain.quantiles import Floats, Rows
from espfleet.domain.reasons import why_level, why_unknown
from espfleet.domain.samples import UNRESOLVED
from espfleet.domain.sizes import USUAL, Memory
from espfleet.domain.states import ORANGE_LEVEL, UNKNOWN_LEVEL, GroupLevel, State
from espfleet.domain.targets import Target
from espfleet.domain.unknowns import UNKNOWN
from espfleet.domain.windows import WindowBlock
from espfleet.errors import NotFoundError

#: Rows worked on at once: what lies between two steps then stays in the processor's cache.
_CHUNK = 16_384
#: Stand where a level could, for what was told of a group last.
_PAUSED, _NOTHING = -2, -3


class LevelBook:
    """Windows, bands and levels of any number of targets and groups. For one thread; it reads no clock.

    Args:
        memory: How long the past counts.

    Attributes:
        samples: Samples taken so far, lost ones too.
        strangers: Samples refused because their row was -1.
    """

    def __init__(self, memory: Memory = USUAL) -> None:
        self.samples = 0
        self.strangers = 0
        self._blocks = Blocks(memory)
        self._members = Members({}, self._blocks)
        self._latest: list[GroupLevel | None] = []
        self._now_ms = 0
        self._forget_told()

    @property
    def dropped(self) -> int:
        """Samples refused because they had been taken before, or came later than any timeout allows."""
        return sum(block.dropped for block in self._blocks.blocks)

    def configure(self, targets: Mapping[str, Target], groups: Mapping[str, Group]) -> None:
        """Judge exactly these targets in exactly these groups from now on.

        Windows of targets that stay are kept; a target with another interval or address starts again. Bands are kept
        in groups whose thresholds stay; elsewhere they begin anew with what the windows say. Targets that a group
        names and that are not given are left out. ``rows`` must be asked again.
        """
        self._blocks.configure(targets)
        latest = dict(zip(self._members.names, self._latest, strict=True))
        before, self._members = self._members, Members(groups, self._blocks)
        self._latest = [latest.get(name) for name in self._members.names]
        self._forget_told()
        fresh = self._members.carry(before)
        for number, rows, where in self._blocks.split(self._members.row[fresh]):
            block = self._blocks.blocks[number]
            known = np.flatnonzero(block.known[rows])
            self._start(block, rows[known], fresh[where][known])

    def _forget_told(self) -> None:
        groups = len(self._members.groups)
        # By number of the group, the last for targets in none: whether since the last evaluation a member changed its
        # level, and whether one that is not green did so for another reason.
        self._dirty = np.ones(groups + 1, np.bool_)
        self._turned = np.zeros(groups + 1, np.bool_)
        # And the level and the deciding member that were told then.
        self._told_level = np.full(groups, _NOTHING, np.int64)
        self._told_decider = np.full(groups, -1, np.int64)

    def rows(self, names: Sequence[str]) -> Rows:
        """Return the row of each target for ``add``, -1 where there is none; valid until the next ``configure``."""
        rows = self._blocks.rows
        return np.array([rows.get(name, -1) for name in names], np.int64)

    def add(self, rows: Rows, rtt_us: Floats, sent_ms: Rows) -> None:
        """Take in a batch of samples.

        Args:
            rows: ``rows`` of their targets, at most one sample each, int64 [n]; those that are -1 are counted only.
            rtt_us: RTT in microseconds or a code of ``samples``, float32 [n].
            sent_ms: When they were sent, int64 [n], ms since the epoch. A sample may be older than the newest of its
                target by its timeout and two intervals; what is older still, or was taken before, is dropped.
        """
        rtt_us = np.ascontiguousarray(rtt_us, np.float32)
        here = rows >= 0
        if not here.all():
            self.strangers += len(rows) - int(np.count_nonzero(here))
            rows, rtt_us, sent_ms = rows[here], rtt_us[here], sent_ms[here]
        for number, inside, where in self._blocks.split(rows):
            block_rtt_us, block_sent_ms = rtt_us[where], sent_ms[where]
            if len(inside) > _CHUNK:
                # Neighbours in memory one after the other; of so many, that takes less time than it saves.
                order = in_order(inside)
                inside, block_rtt_us, block_sent_ms = inside[order], block_rtt_us[order], block_sent_ms[order]
            for start in range(0, len(inside), _CHUNK):
                part = slice(start, start + _CHUNK)
                self._add(number, inside[part], block_rtt_us[part], block_sent_ms[part])

    def _add(self, number: int, rows: Rows, rtt_us: Floats, sent_ms: Rows) -> None:
        block = self._blocks.blocks[number]
        taken = block.push(rows, rtt_us, sent_ms)
        # What is unknown may have become so for another reason.
        unknown = taken.unmeasured[~block.known[taken.unmeasured]]
        if len(unknown):
            members, _ = self._members.of_rows(number, unknown)
            group = self._members.group[members]
            self._dirty[group] = self._turned[group] = True
        if len(taken.rows):
            self.samples += len(taken.rows)
            members, rows_of = self._members.of_rows(number, taken.rows)
            if np.count_nonzero(taken.first):
                starting, _ = self._members.of_rows(number, taken.rows[taken.first])
                self._members.bands.clear(starting)
            self._judge(block, rows_of, members)

    def _start(self, block: WindowBlock, rows: Rows, members: Rows) -> None:
        """Give new members the bands that the windows of their rows call for."""
        seen_twice = block.long.filled[rows] > 1
        self._members.bands.level[members[seen_twice]] = FULL_LEVEL
        if len(members):
            self._judge(block, rows, members)

    def _judge(self, block: WindowBlock, rows: Rows, members: Rows) -> None:
        """Let the latest sample of each row move the band of the member beside it."""
        of = self._members
        group = of.group.take(members)
        values = block.values.take(rows, axis=1)
        level = np.maximum.reduce(calm_levels(values, of.marks, group))
        at_once = block.outage.take(rows)
        if of.at_once:
            at_once |= red_at_once(block.last_us.take(rows), of.marks, group)
        # What is green and stays green needs no more: these are nearly all.
        hot = np.flatnonzero((level >= ORANGE_LEVEL) | at_once | (of.bands.held.take(members) != GREEN))
        if len(hot):
            hot_rows, hot_members, sure = rows.take(hot), members.take(hot), at_once.take(hot)
            lost_percent = block.lost_percent(hot_rows)
            hot_level, clear, causes = hot_levels(values.take(hot, axis=1), lost_percent, of.marks, group.take(hot))
            if np.count_nonzero(sure):
                hot_level[sure] = clear[sure] = FULL_LEVEL
                causes[sure] = Cause.SPIKE
                causes[block.outage.take(hot_rows)] = Cause.OUTAGE
                causes[block.last_us.take(hot_rows) == UNRESOLVED] = Cause.NO_ADDRESS
            level[hot] = hot_level
            turned = group[hot[causes != of.cause.take(hot_members)]]
            of.cause[hot_members] = causes
            self._dirty[turned] = self._turned[turned] = True
        shown = level.astype(np.int16)
        if len(hot):
            shown[hot] = of.bands.move(hot_members, hot_level, clear, sure, block.newest_ms.take(hot_rows))
        of.bands.level[members] = level
        changed = shown != of.shown.take(members)
        of.shown[members] = shown
        self._dirty[group[changed]] = True

    def evaluate(self, now_ms: int) -> list[GroupLevel]:
        """Return the levels of all groups whose level, state or reason changed since the last call."""
        self._now_ms = now_ms
        for number, block in enumerate(self._blocks.blocks):
            silent = block.fall_silent(now_ms)
            if len(silent):
                members, _ = self._members.of_rows(number, silent)
                self._members.shown[members] = UNKNOWN
                self._dirty[self._members.group[members]] = True
        groups = np.flatnonzero(self._dirty[:-1])
        self._dirty[:] = False
        levels, deciders = self._verdicts(groups)
        changed = (levels != self._told_level[groups]) | (deciders != self._told_decider[groups])
        changed |= (levels == UNKNOWN) | self._turned[groups]
        self._turned[:] = False
        self._told_level[groups], self._told_decider[groups] = levels, deciders
        return self._tell(groups[changed], levels[changed], deciders[changed], now_ms)

    def _verdicts(self, groups: Rows) -> tuple[Rows, Rows]:
        """Return level and deciding member of some groups, the member -1 where there is none."""
        of = self._members
        levels, deciders = np.full(len(groups), UNKNOWN, np.int64), np.full(len(groups), -1, np.int64)
        judged = of.counts[groups] > 0
        if judged.any():
            counts = of.counts[groups[judged]]
            members = spread(of.starts[groups[judged]], counts)
            levels[judged], places = combine(of.shown[members], counts, of.ranks[groups[judged]])
            deciders[judged] = members[places]
        levels[of.paused[groups]] = _PAUSED
        return levels, deciders

    def _tell(self, groups: Rows, levels: Rows, deciders: Rows, now_ms: int) -> list[GroupLevel]:
        known = levels >= 0
        known[known] = self._members.shown[deciders[known]] != UNKNOWN
        if known.all():
            reasons = why_level(self._blocks, self._members, deciders)
        else:
            reasons = self._mixed_reasons(levels, deciders, known)
        told = []
        latest, names = self._latest, self._members.names
        for group, level, reason in zip(groups.tolist(), levels.tolist(), reasons, strict=True):
            state, shown = State.OK, level
            if level < 0:
                state, shown = State.UNKNOWN if level == UNKNOWN else State.PAUSED, UNKNOWN_LEVEL
            before = latest[group]
            if before is None or before.level != shown or before.reason != reason or before.state is not state:
                now = GroupLevel(group=names[group], level=shown, state=state, at_ms=now_ms, reason=reason)
                latest[group] = now
                told.append(now)
        return told

    def _mixed_reasons(self, levels: Rows, deciders: Rows, known: npt.NDArray[np.bool_]) -> list[str]:
        reasons = np.full(len(levels), "no targets", object)
        reasons[known] = why_level(self._blocks, self._members, deciders[known])
        # Where it makes no difference what an unknown target is, it may be the one in the middle.
        unknown = ~known & (deciders >= 0)
        reasons[unknown] = why_unknown(self._blocks, self._members, deciders[unknown])
        reasons[levels == _PAUSED] = "paused"
        mixed: list[str] = reasons.tolist()
        return mixed

    def group_levels(self) -> list[GroupLevel]:
        """Return the levels of all groups as of the last ``evaluate``; ``at_ms`` says since when they are so."""
        return [level for level in self._latest if level is not None]

    def explain(self, group: str, now_ms: int) -> Explanation:
        """Return what the level of a group is made of.

        Raises:
            NotFoundError: If there is no such group.
        """
        names = self._members.names
        if group not in names:
            raise NotFoundError("group", group, nearest(group, names))
        number = names.index(group)
        return explain(self._blocks, self._members, number, self._latest[number], now_ms)

    def summary(self, only: Collection[str] | None = None) -> bytes:
        """Return what was known of each target, or of each in ``only``, at the last ``evaluate``: ``parse_summary``."""
        return pack(self._blocks, self._members, self._now_ms, only)

"""Levels once more, slowly: every window sorted anew from the list of all samples, every rule by its words."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from espfleet.domain.contributions import contributions, marks_of
from espfleet.domain.groups import Combine, Group, Thresholds
from espfleet.domain.quantiles import CENTRE_MS, encode
from espfleet.domain.samples import NOT_MEASURED, UNRESOLVED
from espfleet.domain.sizes import sizes_of
from espfleet.domain.states import State, band_of
from espfleet.domain.targets import Target

GREEN, ORANGE, RED = range(3)
FLOOR = {GREEN: 0, ORANGE: 50, RED: 90}
CEILING = {GREEN: 49, ORANGE: 89, RED: 100}


@dataclass
class PlainTarget:
    """All samples of a target since its windows were emptied last, in the order they were taken."""

    target: Target
    seen: list[int] = field(default_factory=list)
    taken: list[tuple[int, float]] = field(default_factory=list)
    silent: bool = True
    jitter: np.float32 = field(default_factory=np.float32)

    @property
    def newest_ms(self) -> int:
        return max(sent_ms for sent_ms, _ in self.taken)

    def add(self, sent_ms: int, rtt_us: float) -> bool:
        """Take a sample; return whether it was taken."""
        if rtt_us == NOT_MEASURED:
            return False
        if self.taken and sent_ms <= self.newest_ms:
            oldest_ms = self.newest_ms - self.target.timeout_ms - 2 * self.target.interval_ms
            if sent_ms in self.seen or sent_ms <= oldest_ms:
                return False
        long_ms = max(180_000, sizes_of(self.target.interval_ms).long * self.target.interval_ms)
        if self.taken and sent_ms - self.newest_ms > long_ms:
            self.taken.clear()
            self.jitter = np.float32(0)
        self.seen.append(sent_ms)
        self.taken.append((sent_ms, float(np.float32(rtt_us))))
        self.follow_jitter()
        self.silent = False
        return True

    def fall_silent(self, now_ms: int) -> None:
        if self.taken:
            age_ms = now_ms - self.newest_ms
            self.silent |= age_ms > 3 * self.target.interval_ms + self.target.timeout_ms
            if age_ms < -5_000:
                self.silent = True
                self.taken.clear()
                self.jitter = np.float32(0)

    def level(self, thresholds: Thresholds) -> float:
        """Return the highest contribution."""
        sizes = sizes_of(self.target.interval_ms)
        rtts = [rtt for _, rtt in self.taken]
        last = rtts[-1]
        if streak_of(rtts) >= 5 or last == UNRESOLVED:
            return 100.0
        if is_spike(last, thresholds):
            return 100.0
        long = rtts[-sizes.long :]
        short = sorted(math.inf if not is_answer(rtt) else rtt for rtt in rtts[-sizes.short :])
        now = np.float32(short[(len(short) - 1) // 2]) / np.float32(1_000)
        answers = sorted(code_of(rtt) for rtt in long if is_answer(rtt))
        middle = (len(long) - 1) // 2
        usual = CENTRE_MS[answers[middle]] if middle < len(answers) else np.float32(math.inf)
        baseline = CENTRE_MS[answers[(len(answers) - 1) // 5]] if answers else CENTRE_MS[1]
        tail = rtts[-sizes.loss :]
        lost = sum(not is_answer(rtt) for rtt in tail)
        bound = np.float32(max(lost - 1.3 * math.sqrt(lost), 0)) * np.float32(100) / np.float32(max(len(tail), 10))
        values = np.array([[bound], [now], [usual], [self.jitter], [baseline]], np.float32)
        marks = np.array(marks_of(thresholds), np.float32)[:, None]
        return float(contributions(values, marks).max())

    def observed(self, thresholds: Thresholds) -> float:
        """Return the level of the loss itself."""
        tail = [rtt for _, rtt in self.taken][-sizes_of(self.target.interval_ms).loss :]
        percent = 100 * sum(not is_answer(rtt) for rtt in tail) / len(tail)
        orange, red = thresholds.loss_orange_percent, thresholds.loss_red_percent
        return float(np.interp(percent, [0, orange, red, 1.5 * red], [0, 50, 90, 100]))

    def follow_jitter(self) -> None:
        """Let the newest of ``taken`` move the jitter."""
        rtts = [rtt for _, rtt in self.taken]
        if not is_answer(rtts[-1]):
            return
        before = next((rtt for rtt in reversed(rtts[:-1]) if is_answer(rtt)), None)
        if before is not None:
            window = rtts[-sizes_of(self.target.interval_ms).long :]
            answers = sorted(code_of(each) for each in window if is_answer(each))
            median = CENTRE_MS[answers[min((len(window) - 1) // 2, len(answers) - 1)]]
            change = abs(np.float32(rtts[-1]) / np.float32(1_000) - np.float32(before) / np.float32(1_000))
            most = self.jitter * np.float32(4) + median * np.float32(0.1)
            self.jitter = self.jitter + (min(change, most) - self.jitter) * np.float32(1 / 16)


def is_answer(rtt_us: float) -> bool:
    return 0 <= rtt_us < math.inf


def is_spike(rtt_us: float, thresholds: Thresholds) -> bool:
    return thresholds.at_once_red_ms is not None and rtt_us >= 1_000 * thresholds.at_once_red_ms


def code_of(rtt_us: float) -> int:
    return int(encode(np.array([rtt_us], np.float32))[0])


def streak_of(rtts: list[float]) -> int:
    streak = 0
    while streak < len(rtts) and not is_answer(rtts[-1 - streak]):
        streak += 1
    return streak


@dataclass
class PlainMember:
    """A target as a group sees it: its levels since its band began, and the band."""

    thresholds: Thresholds
    levels: list[tuple[int, float]] = field(default_factory=list)
    clear_by: list[tuple[int, float]] = field(default_factory=list)
    held: int | None = None

    def step(self, at_ms: int, level: float, observed: float, at_once: bool, first: bool) -> None:
        if first:
            self.levels.clear()
            self.clear_by.clear()
            self.held = None
        before = self.levels[-1][1] if self.levels else -1.0
        self.levels.append((at_ms, level))
        self.clear_by.append((at_ms, max(level, observed)))
        sure = 100.0 if at_once else before
        both = level if level < 50 else min(level, sure)
        if self.held is not None:
            if self.held == RED and self.low_for_ms(85) >= 5_000:
                self.held = ORANGE
            if self.held == ORANGE and self.low_for_ms(45) >= 5_000:
                self.held = GREEN
        if both >= 0:
            self.held = max(GREEN if self.held is None else self.held, (both >= 50) + (both >= 90))

    def low_for_ms(self, below: float) -> int:
        run = []
        for at_ms, level in reversed(self.clear_by):
            if level >= below:
                break
            run.append(at_ms)
        return self.clear_by[-1][0] - min(run) if run else -1

    def shown(self) -> int | None:
        if self.held is None:
            return None
        return min(max(int(np.float32(self.levels[-1][1])), FLOOR[self.held]), CEILING[self.held])


def is_sure(target: PlainTarget, member: PlainMember) -> bool:
    """Return whether a target is red without a second sample."""
    rtts = [rtt for _, rtt in target.taken]
    return streak_of(rtts) >= 5 or rtts[-1] == UNRESOLVED or is_spike(rtts[-1], member.thresholds)


class PlainBook:
    """What ``LevelBook`` promises, for few targets."""

    def __init__(self) -> None:
        self.targets: dict[str, PlainTarget] = {}
        self.groups: dict[str, Group] = {}
        self.members: dict[tuple[str, str], PlainMember] = {}

    def configure(self, targets: Mapping[str, Target], groups: Mapping[str, Group]) -> None:
        kept = {}
        for name, target in targets.items():
            before = self.targets.get(name)
            if before and (before.target.interval_ms, before.target.address) == (target.interval_ms, target.address):
                before.target = target
                kept[name] = before
            else:
                kept[name] = PlainTarget(target)
        self.targets = kept
        members = {}
        for group in groups.values():
            for name in group.targets:
                if name in targets:
                    before_member = self.members.get((group.name, name))
                    if before_member is None or before_member.thresholds != group.thresholds:
                        before_member = self.started(PlainMember(group.thresholds), self.targets[name])
                    members[group.name, name] = before_member
        self.members = members
        self.groups = dict(groups)

    def started(self, member: PlainMember, target: PlainTarget) -> PlainMember:
        if target.taken and not target.silent:
            level = target.level(member.thresholds)
            seen_twice = len(target.taken) > 1
            if seen_twice:
                member.levels.append((target.newest_ms, 100.0))
            member.step(
                target.newest_ms, level, target.observed(member.thresholds), is_sure(target, member), first=False
            )
            member.levels[:-1] = []
        return member

    def add(self, name: str, sent_ms: int, rtt_us: float) -> None:
        target = self.targets.get(name)
        if target is None or not target.add(sent_ms, rtt_us):
            return
        for (_, of), member in self.members.items():
            if of == name:
                level, observed = target.level(member.thresholds), target.observed(member.thresholds)
                member.step(target.newest_ms, level, observed, is_sure(target, member), first=len(target.taken) == 1)

    def evaluate(self, now_ms: int) -> dict[str, tuple[State, int]]:
        for target in self.targets.values():
            target.fall_silent(now_ms)
        return {group.name: self.group_level(group) for group in self.groups.values()}

    def group_level(self, group: Group) -> tuple[State, int]:
        if group.paused:
            return State.PAUSED, 50
        shown = [
            None if self.targets[name].silent else self.members[group.name, name].shown()
            for name in group.targets
            if name in self.targets
        ]
        if not shown:
            return State.UNKNOWN, 50
        best = combined(group, [level or 0 for level in shown])
        worst = combined(group, [100 if level is None else level for level in shown])
        if best >= 50 or band_of(best) is band_of(worst):
            return State.OK, best
        return State.UNKNOWN, 50


def combined(group: Group, levels: list[int]) -> int:
    falling = sorted(levels, reverse=True)
    if group.combine is Combine.WORST:
        return falling[0]
    if group.combine is Combine.QUORUM:
        return falling[min(group.quorum, len(falling)) - 1]
    return sorted(levels)[len(levels) // 2]

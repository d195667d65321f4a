"""Explain: everything that a group's present level is made of, as plain values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from espfleet.domain.bands import GREEN, NOT_LOW, ORANGE, RED
from espfleet.domain.blocks import Blocks
from espfleet.domain.contributions import FULL_LEVEL, Kind, contributions, deciding, red_at_once
from espfleet.domain.groups import Group, Thresholds
from espfleet.domain.members import Members
from espfleet.domain.quantiles import BIN_ERROR, Rows
from espfleet.domain.reasons import no_address
from espfleet.domain.samples import UNREACHABLE, UNRESOLVED
from espfleet.domain.states import ORANGE_LEVEL, RED_LEVEL, Band, GroupLevel
from espfleet.domain.targets import Target
from espfleet.domain.unknowns import UNKNOWN, WHY, Why
from espfleet.domain.windows import LOSS_DEVIATIONS, NEVER, WindowBlock

#: A jump above this came of an infinite median.
_HUGE = 1e6
_BANDS = {GREEN: Band.GREEN, ORANGE: Band.ORANGE, RED: Band.RED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """One way in which a target can be bad.

    Attributes:
        name: ``loss``, ``now``, ``usual``, ``jitter``, ``jump`` or ``at once``.
        value: What is held against the thresholds; ``None`` if it is infinite.
        unit: ``%``, ``ms`` or ``×``.
        orange, red: Thresholds in the same unit; ``None`` where there is none.
        level: What that makes, 0 to 100.
        inputs: What the value was made of, by name; ``None`` stands for infinite.
    """

    name: str
    value: float | None
    unit: str
    orange: float | None
    red: float | None
    level: float
    inputs: dict[str, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class BandTimers:
    """The memory of a band.

    Attributes:
        held: The band, or ``None`` before the first.
        rising_to: The band that one more sample like the last will raise it to, or ``None``.
        clears_in_ms: How long the samples must stay as low as they are until the band is cleared, or ``None``.
    """

    held: Band | None
    rising_to: Band | None
    clears_in_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetExplanation:
    """What is known of a target, judged by one group.

    Attributes:
        target: Name of the target.
        level: Level that the group sees, 0 to 100, or ``None`` while it is unknown.
        unknown: Why the level is unknown, or ``""``.
        computed: Highest contribution, before it is clamped into the band, 0 to 100, or ``None`` without samples.
        decided_by: Name of that contribution, or ``""``.
        age_ms: Time since the newest sample was sent, or ``None`` without samples.
        samples: Samples in the long window.
        last: ``answered``, ``lost``, ``unreachable``, ``name … has no address``, ``not measured`` or ``""``.
        last_ms: The last answer, if the last sample was one.
        contributions: All of them, the deciding one too; none without samples.
        band: The memory of its band.
    """

    target: str
    level: int | None
    unknown: str
    computed: float | None
    decided_by: str
    age_ms: int | None
    samples: int
    last: str
    last_ms: float | None
    contributions: tuple[Contribution, ...]
    band: BandTimers


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What the level of a group is made of.

    Attributes:
        group: The group, with its rule of combining and its thresholds.
        thresholds: The thresholds in force.
        level: What was told of it last, or ``None``.
        rank: Which target decides, counted from the worst; 0 without targets.
        targets: Its targets in its order.
    """

    group: Group
    thresholds: Thresholds
    level: GroupLevel | None
    rank: int
    targets: tuple[TargetExplanation, ...]


def explain(blocks: Blocks, members: Members, number: int, level: GroupLevel | None, now_ms: int) -> Explanation:
    """Return what the level of the group with this number is made of."""
    group = members.groups[number]
    first, count = int(members.starts[number]), int(members.counts[number])
    return Explanation(
        group=group,
        thresholds=group.thresholds,
        level=level,
        rank=int(members.ranks[number]) if count else 0,
        targets=tuple(_target(blocks, members, member, number, now_ms) for member in range(first, first + count)),
    )


def _target(blocks: Blocks, members: Members, member: int, number: int, now_ms: int) -> TargetExplanation:
    name = members.targets[member]
    block, row = blocks.at(name)
    shown = int(members.shown[member])
    newest_ms = int(block.newest_ms[row[0]])
    parts = _contributions(block, row, members, number) if newest_ms != NEVER else ()
    worst = max(parts, key=lambda part: part.level, default=None)
    told = deciding(np.array([[part.level] for part in parts], np.float32))[0] if parts else 0
    last_us = float(block.last_us[row[0]])
    return TargetExplanation(
        target=name,
        level=None if shown == UNKNOWN else shown,
        unknown=WHY[Why(int(block.why_unknown(row)[0]))] if shown == UNKNOWN else "",
        computed=worst.level if worst else None,
        decided_by=parts[told].name if parts else "",
        age_ms=now_ms - newest_ms if newest_ms != NEVER else None,
        samples=int(block.long.filled[row[0]]),
        last=_last(block, int(row[0]), blocks.targets[name]),
        last_ms=last_us / 1_000 if newest_ms != NEVER and 0 <= last_us < math.inf else None,
        contributions=parts,
        band=_timers(members, member, newest_ms),
    )


def _last(block: WindowBlock, row: int, target: Target) -> str:
    """Return what the last sample was."""
    if block.unmeasured_ms[row] > block.newest_ms[row]:
        return "not measured"
    if block.newest_ms[row] == NEVER:
        return ""
    last_us = float(block.last_us[row])
    codes = {UNREACHABLE: "unreachable", UNRESOLVED: no_address(target)}
    return "answered" if 0 <= last_us < math.inf else codes.get(last_us, "lost")


def _contributions(block: WindowBlock, row: Rows, members: Members, number: int) -> tuple[Contribution, ...]:
    limits = members.groups[number].thresholds
    values, marks = block.values.take(row, axis=1), members.marks[:, [number]]
    baseline_ms = float(values[Kind.JUMP, 0])
    levels = contributions(values, marks)[:, 0].tolist()
    found = values[:, 0].tolist()
    found[Kind.JUMP] += 1
    pairs = {
        Kind.LOSS: ("%", limits.loss_orange_percent, limits.loss_red_percent),
        Kind.NOW: ("ms", limits.latency_orange_ms, limits.latency_red_ms),
        Kind.USUAL: ("ms", limits.latency_orange_ms, limits.latency_red_ms),
        Kind.JITTER: ("ms", limits.jitter_orange_ms, limits.jitter_red_ms),
        Kind.JUMP: ("×", limits.jump_orange, limits.jump_red),
    }
    inputs = _inputs(block, int(row[0]), baseline_ms, found[Kind.NOW], limits)
    listed = [
        Contribution(
            name=kind.name.lower(),
            value=_finite(found[kind]),
            unit=unit,
            orange=orange,
            red=red,
            level=round(levels[kind], 1),
            inputs=inputs[kind],
        )
        for kind, (unit, orange, red) in pairs.items()
    ]
    if limits.at_once_red_ms is not None:
        last_us = block.last_us.take(row)
        listed.append(
            Contribution(
                name="at once",
                value=float(last_us[0]) / 1_000 if last_us[0] >= 0 else None,
                unit="ms",
                orange=None,
                red=limits.at_once_red_ms,
                level=float(FULL_LEVEL if red_at_once(last_us, members.marks, np.array([number]))[0] else 0),
                inputs={},
            )
        )
    return tuple(listed)


def _inputs(
    block: WindowBlock, row: int, baseline_ms: float, now_ms: float, limits: Thresholds
) -> dict[Kind, dict[str, float | None]]:
    filled, lost = int(block.long.filled[row]), int(block.long.lost[row])
    counted = min(filled, block.sizes.loss)
    return {
        Kind.LOSS: {
            "lost": lost,
            "of": counted,
            "percent": round(100 * lost / counted, 2),
            "deviations": LOSS_DEVIATIONS,
            "in_a_row": int(block.streak[row]),
        },
        Kind.NOW: {"samples": min(filled, block.sizes.short)},
        Kind.USUAL: {"samples": filled, "error_percent": round(100 * BIN_ERROR, 1)},
        Kind.JITTER: {},
        Kind.JUMP: {
            "now_ms": _finite(now_ms),
            "baseline_ms": round(baseline_ms, 3),
            "error_percent": round(100 * BIN_ERROR, 1),
            "at_least_ms": limits.jump_ms,
        },
    }


def _timers(members: Members, member: int, newest_ms: int) -> BandTimers:
    bands = members.bands
    if newest_ms == NEVER:
        return BandTimers(held=None, rising_to=None, clears_in_ms=None)
    held, level = int(bands.held[member]), float(bands.level[member])
    next_band = (level >= ORANGE_LEVEL) + (level >= RED_LEVEL)
    since_ms = int((bands.below_red_ms if held == RED else bands.below_orange_ms)[member])
    clearing = held > GREEN and since_ms != NOT_LOW
    return BandTimers(
        held=_BANDS.get(held),
        rising_to=_BANDS[next_band] if next_band > max(held, GREEN) else None,
        clears_in_ms=max(since_ms + bands.clear_after_ms - newest_ms, 0) if clearing else None,
    )


def _finite(value: float) -> float | None:
    return None if math.isinf(value) or value > _HUGE else round(value, 3)

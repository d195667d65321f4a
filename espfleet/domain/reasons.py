"""Reasons: why a group has its level, in few words: ``router: loss 12 %``, ``router: no samples yet``."""

from __future__ import annotations

import numpy as np

from espfleet.domain.bands import GREEN
from espfleet.domain.blocks import Blocks
from espfleet.domain.contributions import Kind, contributions, deciding, red_at_once
from espfleet.domain.members import Members
from espfleet.domain.quantiles import Floats, Rows
from espfleet.domain.samples import UNRESOLVED
from espfleet.domain.targets import Target, parse_address
from espfleet.domain.windows import Why, WindowBlock

WHY = {
    Why.NONE_YET: "no samples yet",
    Why.SILENT: "no samples any more",
    Why.UNMEASURED: "not measured",
    Why.AHEAD: "its samples lie in the future",
    Why.SECOND: "waits for a second sample",
}
# What is said before and behind the number of each kind of contribution, and of what has no number.
_BEFORE = ("loss ", "latency ", "usual latency ", "jitter ", "latency jumped to ", "one answer after ")
_BEHIND = (" %", " ms", " ms", " ms", " ms", " ms")
_SPIKE, _MOST_LOST, _OUTAGE, _UNRESOLVED = range(len(Kind), len(Kind) + 4)


def number(value: float) -> str:
    """Return a value for people: two digits below 10, a whole number above."""
    return f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"


def no_address(target: Target) -> str:
    """Return what is said of a target whose name has no address."""
    return f"name {parse_address(target.address).host} has no address"


def why_unknown(blocks: Blocks, members: Members, deciders: Rows) -> list[str]:
    """Return for each member why nothing is known of it."""
    codes = np.empty(len(deciders), np.int8)
    for block, rows, where in blocks.split(members.row[deciders]):
        codes[where] = blocks.blocks[block].why_unknown(rows)
    return [
        f"{members.targets[member]}: {WHY[Why(code)]}"
        for member, code in zip(deciders.tolist(), codes.tolist(), strict=True)
    ]


def why_level(blocks: Blocks, members: Members, deciders: Rows) -> list[str]:
    """Return for each member the contribution that decides its level."""
    kinds, values = np.empty(len(deciders), np.int64), np.empty(len(deciders), np.float32)
    for block, rows, where in blocks.split(members.row[deciders]):
        kinds[where], values[where] = _deciding(blocks.blocks[block], rows, members, deciders[where])
    texts = []
    for member, kind, value in zip(deciders.tolist(), kinds.tolist(), values.tolist(), strict=True):
        name = members.targets[member]
        if kind <= _SPIKE:
            texts.append(f"{name}: {_BEFORE[kind]}{number(value)}{_BEHIND[kind]}")
        elif kind == _UNRESOLVED:
            texts.append(f"{name}: {no_address(blocks.targets[name])}")
        else:
            texts.append(f"{name}: no answer" if kind == _OUTAGE else f"{name}: most probes lost")
    return texts


def _deciding(block: WindowBlock, rows: Rows, members: Members, deciders: Rows) -> tuple[Rows, Floats]:
    """Return for each row what decides, a ``Kind`` or one of the numbers above, and its value."""
    values = block.values.take(rows, axis=1)
    group = members.group.take(deciders)
    lost = block.lost_percent(rows)
    # A band is held by the loss itself, see ``bands``.
    np.maximum(values[Kind.LOSS], lost, out=values[Kind.LOSS], where=members.bands.held.take(deciders) > GREEN)
    kinds = deciding(contributions(values, members.marks.take(group, axis=1)))
    values[Kind.LOSS] = lost
    values[Kind.JUMP] = values[Kind.NOW]
    told = values[kinds, np.arange(len(rows))]
    last = block.last_us.take(rows)
    if members.at_once:
        spikes = red_at_once(last, members.marks, group)
        kinds[spikes] = _SPIKE
        told[spikes] = last[spikes] / np.float32(1_000)
    kinds[told == np.inf] = _MOST_LOST
    outage = np.flatnonzero(block.outage.take(rows))
    kinds[outage] = np.where(last[outage] == UNRESOLVED, _UNRESOLVED, _OUTAGE)
    return kinds, told

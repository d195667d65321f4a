"""Reasons: why a group has its level, in few words: ``router: loss 12 %``, ``router: no samples yet``."""

from __future__ import annotations

import math

import numpy as np

from espfleet.domain.bands import GREEN
from espfleet.domain.blocks import Blocks
from espfleet.domain.contributions import Cause, Kind, calm_levels, deciding
from espfleet.domain.members import Members
from espfleet.domain.quantiles import Floats, Rows
from espfleet.domain.states import ORANGE_LEVEL
from espfleet.domain.targets import Target, parse_address
from espfleet.domain.unknowns import WHY, Why
from espfleet.domain.windows import WindowBlock

# What is said before and behind the number of each cause that has one.
_BEFORE = ("loss ", "latency ", "usual latency ", "jitter ", "latency jumped to ", "loss ", "one answer after ")
_BEHIND = (" %", " ms", " ms", " ms", " ms", " %", " ms")
_LAST_WITH_NUMBER = len(_BEFORE) - 1


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
    causes, values = np.empty(len(deciders), np.int64), np.empty(len(deciders), np.float32)
    for block, rows, where in blocks.split(members.row[deciders]):
        causes[where], values[where] = _deciding(blocks.blocks[block], rows, members, deciders[where])
    texts = []
    targets = members.targets
    # In a large fleet thousands of these are written a second: the usual case comes first and calls nothing.
    for member, cause, value in zip(deciders.tolist(), causes.tolist(), values.tolist(), strict=True):
        if cause <= _LAST_WITH_NUMBER and value < math.inf:
            amount = f"{value:.0f}" if value >= 9.95 else f"{value:.2g}"
            texts.append(f"{targets[member]}: {_BEFORE[cause]}{amount}{_BEHIND[cause]}")
        elif cause == Cause.NO_ADDRESS:
            texts.append(f"{targets[member]}: {no_address(blocks.targets[targets[member]])}")
        else:
            texts.append(f"{targets[member]}: {'no answer' if cause == Cause.OUTAGE else 'most probes lost'}")
    return texts


def _deciding(block: WindowBlock, rows: Rows, members: Members, deciders: Rows) -> tuple[Rows, Floats]:
    """Return for each row what decides, a ``Kind`` or a ``Cause``, and the value to tell."""
    values = np.empty((7, len(rows)), np.float32)
    block.values.take(rows, axis=1, out=values[: len(Kind)], mode="clip")
    causes = deciding(calm_levels(values[: len(Kind)], members.marks, members.group.take(deciders)))
    hot = np.flatnonzero(
        (members.bands.level.take(deciders) >= ORANGE_LEVEL) | (members.bands.held.take(deciders) > GREEN)
    )
    causes[hot] = members.cause.take(deciders.take(hot))
    values[Kind.LOSS] = values[Cause.LOSS_ITSELF] = block.lost_percent(rows)
    values[Kind.JUMP] = values[Kind.NOW]
    values[Cause.SPIKE] = block.last_us.take(rows) / np.float32(1_000)
    return causes, values[np.minimum(causes, _LAST_WITH_NUMBER), np.arange(len(rows))]

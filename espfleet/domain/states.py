"""What is known of a group at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

ORANGE_LEVEL = 50
RED_LEVEL = 90
#: What a client that knows only numbers is shown while nothing is known: orange, never green.
UNKNOWN_LEVEL = 50


class Band(StrEnum):
    """Colour of a level."""

    GREEN = "green"
    ORANGE = "orange"
    RED = "red"


class State(StrEnum):
    """Whether a level says something about the network."""

    OK = "ok"
    UNKNOWN = "unknown"
    PAUSED = "paused"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupLevel:
    """Level of a group.

    Attributes:
        group: Name of the group.
        level: 0 to 100; ``UNKNOWN_LEVEL`` unless ``state`` is ``ok``.
        state: Whether the level says something about the network.
        at_ms: When it was computed, ms since the epoch.
        seq: Number of the publication it came with; grows, also when the owner changes. 0 before publication.
        reason: For an unknown level, why; else the name of the target that decided it, or ``""``.
    """

    group: str
    level: int
    state: State
    at_ms: int
    seq: int = 0
    reason: str = ""

    @property
    def band(self) -> Band | None:
        """Colour, or ``None`` while the level says nothing."""
        return band_of(self.level) if self.state is State.OK else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; ``group`` and ``seq`` are left out, for they are told once for many."""
        return {"level": self.level, "state": self.state.value, "at_ms": self.at_ms, "reason": self.reason}

    @classmethod
    def from_dict(cls, group: str, values: Mapping[str, Any], seq: int) -> GroupLevel:
        """Return the level that ``to_dict`` described."""
        return cls(
            group=group,
            level=values["level"],
            state=State(values["state"]),
            at_ms=values["at_ms"],
            seq=seq,
            reason=values.get("reason", ""),
        )


def band_of(level: float) -> Band:
    """Return the colour of a level: 0 to 49 green, 50 to 89 orange, 90 to 100 red."""
    if level >= RED_LEVEL:
        return Band.RED
    return Band.ORANGE if level >= ORANGE_LEVEL else Band.GREEN


def unknown(group: str, at_ms: int, reason: str) -> GroupLevel:
    """Return the level of a group of which nothing is known."""
    return GroupLevel(group=group, level=UNKNOWN_LEVEL, state=State.UNKNOWN, at_ms=at_ms, reason=reason)

"""Loads: what a fleet is to carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from espfleet.errors import InvalidError

#: Targets of a group, where nobody says how many groups there are.
A_GROUP = 50
#: The least and the most of everything.
LIMITS: Mapping[str, tuple[float, float]] = {
    "lamps": (0, 10_000_000),
    "targets": (0, 10_000_000),
    "viewers": (0, 100_000),
    "groups": (0, 1_000_000),
    "changes_per_s": (0, 40),
    "interval_s": (0.01, 3_600),
    "shards": (1, 64),
    "busy_percent": (5, 90),
    "keepalives_per_s": (0, 20),
    "levels_per_s": (0, 20),
    "reports_per_s": (0, 20),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a fleet is to carry.

    Attributes:
        lamps: How many there are, all of them connected.
        targets: How many are measured.
        viewers: How many look at the dashboard.
        groups: Groups of targets; 0 for one for each ``A_GROUP`` targets.
        changes_per_s: How often the level of a group changes.
        interval_s: Time between two probes of a target.
        tls: Whether lamps connect with TLS.
        shards: Shards of the fleet.
        busy_percent: How much of a core a process may take; the rest is for storms, and for machines that are slower.
        keepalives_per_s, levels_per_s: Of a lamp, and to a lamp.
        reports_per_s: Messages of a lamp with numbers in them; the firmware sends every tenth keepalive so, and
            readings each half minute.
    """

    lamps: int
    targets: int
    viewers: int = 10
    groups: int = 0
    changes_per_s: float = 1.0
    interval_s: float = 1.0
    tls: bool = False
    shards: int = 4
    busy_percent: float = 50.0
    keepalives_per_s: float = 1.0
    levels_per_s: float = 2.0
    reports_per_s: float = 0.133

    def __post_init__(self) -> None:
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise InvalidError(f"{name} must be {least:g} to {most:g}, not {value:g}", field=name)

    @property
    def all_groups(self) -> int:
        """How many groups there are."""
        return self.groups or max(1, self.targets // A_GROUP)

    @property
    def changes(self) -> float:
        """Levels that change in a second, of all groups."""
        return self.all_groups * self.changes_per_s

    @property
    def samples(self) -> float:
        """Samples in a second."""
        return self.targets / self.interval_s

    @property
    def reports(self) -> float:
        """Messages with numbers in them, in a second."""
        return self.lamps * self.reports_per_s

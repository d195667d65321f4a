"""Unknowns: what stands for a level that is not known, and why it is not; read where nothing is computed, too."""

from __future__ import annotations

from enum import IntEnum

#: What stands for the level of a target of which nothing is known, where levels are numbers.
UNKNOWN = -1


class Why(IntEnum):
    """Why nothing is known of a target."""

    NONE_YET = 0
    SILENT = 1
    UNMEASURED = 2
    AHEAD = 3
    SECOND = 4


WHY = {
    Why.NONE_YET: "no samples yet",
    Why.SILENT: "no samples any more",
    Why.UNMEASURED: "not measured",
    Why.AHEAD: "its samples lie in the future",
    Why.SECOND: "waits for a second sample",
}

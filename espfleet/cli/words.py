"""Words and colours that people read: levels, presence, ages."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.states import Band, GroupLevel, State
from espfleet.services.devices import DeviceView

if TYPE_CHECKING:
    from rich.text import Text

#: Colours of a terminal; each stands beside its word.
BAND_STYLES = {Band.GREEN: "green", Band.ORANGE: "yellow", Band.RED: "bold red"}
UNKNOWN_STYLE = "magenta"
PRESENCE_STYLES = {Presence.LIVE: "green", Presence.LATE: "yellow", Presence.OFFLINE: "red"}


def now_ms() -> int:
    """Return the time, ms since the epoch."""
    return time.time_ns() // 1_000_000


def age(since_ms: int | None, at_ms: int) -> str:
    """Return how long ago something was, such as ``3 s`` or ``2 h``."""
    if since_ms is None:
        return "never"
    seconds = max(0, at_ms - since_ms) / 1_000
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def level_word(level: GroupLevel) -> str:
    """Return a level in a word and a number, such as ``orange 63``, or its state."""
    return f"{level.band.value} {level.level}" if level.band is not None else level.state.value


def level_text(level: GroupLevel) -> Text:
    """Return ``level_word`` in its colour."""
    from rich.text import Text

    style = BAND_STYLES[level.band] if level.band is not None else UNKNOWN_STYLE
    return Text(("● " if level.state is State.OK else "○ ") + level_word(level), style=style)


def presence_word(presence: Presence, reason: Reason | None) -> str:
    """Return whether a device is there and, if not, why."""
    return presence.value if presence is Presence.LIVE or reason is None else f"{presence.value}: {reason.value}"


def presence_text(view: DeviceView) -> Text:
    """Return ``presence_word`` of a device in its colour."""
    from rich.text import Text

    return Text(presence_word(view.presence, view.reason), style=PRESENCE_STYLES[view.presence])


def ms(value: float | None) -> str:
    """Return a time in ms with three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g} ms"

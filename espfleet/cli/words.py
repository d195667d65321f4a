"""Words and colours that people read: levels, presence, ages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from espfleet.domain.devices import Presence, Reason
from espfleet.domain.states import Band, GroupLevel
from espfleet.services.devices import DeviceView

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

    from espfleet.domain.summary import TargetSummary

#: Colours of a terminal; each stands beside its word.
BAND_STYLES = {Band.GREEN: "green3", Band.ORANGE: "orange1", Band.RED: "bold red1"}
UNKNOWN_STYLE = "magenta"
#: Shapes of the dashboard, for those who see no colours.
SHAPES = {Band.GREEN: "●", Band.ORANGE: "▲", Band.RED: "■", None: "◌"}
PRESENCE_STYLES = {Presence.LIVE: "green3", Presence.LATE: "orange1", Presence.OFFLINE: "red1"}


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
    return band_text(level.band, level_word(level))


def band_text(band: Band | None, word: str) -> Text:
    """Return a word in the shape and colour of a band, or in those of the unknown."""
    from rich.text import Text

    return Text(f"{SHAPES[band]} {word}", style=UNKNOWN_STYLE if band is None else BAND_STYLES[band])


def summary_text(summary: TargetSummary | None) -> Text:
    """Return the level of a target in its colour."""
    if summary is None:
        return band_text(None, "unknown: no leveler knows it")
    if summary.band is None:
        return band_text(None, f"unknown: {summary.unknown}")
    return band_text(summary.band, f"{summary.band.value} {summary.level}")


def presence_word(presence: Presence, reason: Reason | None) -> str:
    """Return whether a device is there and, if not, why."""
    return presence.value if presence is Presence.LIVE or reason is None else f"{presence.value}: {reason.value}"


def presence_text(view: DeviceView) -> Text:
    """Return ``presence_word`` of a device in its colour."""
    from rich.text import Text

    return Text(presence_word(view.presence, view.reason), style=PRESENCE_STYLES[view.presence])


def marked(name: str, simulated: bool) -> str:
    """Return a name, with a star if it belongs to something simulated."""
    return f"{name}*" if simulated else name


#: Below tables that hold such a star.
STAR = "* simulated: a program on this machine; './espcli demo remove' removes all of these"


def starred(listed: RenderableType, any_simulated: bool) -> RenderableType:
    """Return a table, with the meaning of the star below it where there is one."""
    from rich.console import Group as Stack
    from rich.text import Text

    return Stack(listed, Text(STAR, style="dim")) if any_simulated else listed


def ms(value: float | None) -> str:
    """Return a time in ms with three significant digits, or a dash."""
    return "–" if value is None else f"{value:.3g} ms"

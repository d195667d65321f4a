"""What a lamp shows, and the words for it. Never green unless a fresh level says so.

The same words stand in the CLI, on the dashboard and in the firmware; ``docs/lamps.md`` explains them to people.
All times are ms on one clock that never jumps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from espfleet.domain.light_patterns import ALL, DARK, GREEN, ORANGE, RED, Colour, Pattern, colour_of, moving
from espfleet.domain.messages import PERIOD_MS
from espfleet.domain.states import ORANGE_LEVEL, State

SELF_TEST_MS = 900
IDENTIFY_MS = 10_000
#: A level is late when it was not renewed for this many periods: half a period is left to a busy network.
LATE_PERIODS = 1.5
LATE_POINTS = 5


class Word(StrEnum):
    """What a lamp shows."""

    SELF_TEST = "self-test"
    NO_SETTINGS = "no settings"
    NO_WIFI = "no Wi-Fi"
    NO_GATEWAY = "no gateway"
    WAITING = "waiting"
    UNKNOWN = "unknown"
    PAUSED = "paused"
    MAINTENANCE = "maintenance"
    LEVEL = "level"
    LATE = "late"
    STALE = "stale"
    IDENTIFY = "identify"
    OVERRIDE = "override"
    UPDATING = "updating"


class Link(StrEnum):
    """How far a lamp has come on its way to the gateway."""

    NO_SETTINGS = "no settings"
    NO_WIFI = "no Wi-Fi"
    NO_GATEWAY = "no gateway"
    CONNECTED = "connected"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeardLevel:
    """The last level that a lamp was told.

    Attributes:
        level: 0 to 100.
        state: Whether it says something about the network.
        at_ms: When it came.
        lease_ms: How long it may be shown without a newer one.
    """

    level: int
    state: State
    at_ms: float
    lease_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """What someone wants a lamp to show instead of its level.

    Attributes:
        level: 50 to 100, or ``None`` for darkness; green is kept for fresh levels.
        until_ms: When it ends.
    """

    level: int | None
    until_ms: float

    def __post_init__(self) -> None:
        if self.level is not None and not ORANGE_LEVEL <= self.level <= 100:
            raise ValueError(f"an override shows a level from {ORANGE_LEVEL} to 100, not {self.level}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that decides what a lamp shows.

    Attributes:
        started_ms: When it started.
        link: How far it has come on its way to the gateway.
        heard: The last level it was told, or ``None``.
        period_ms: A level is promised at least this often.
        identify_until_ms: Until when it shows which one it is, or ``None``.
        override: What it shows instead of its level, or ``None``.
        updating: Whether new firmware is being written.
    """

    started_ms: float
    link: Link
    heard: HeardLevel | None = None
    period_ms: int = PERIOD_MS
    identify_until_ms: float | None = None
    override: Override | None = None
    updating: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What a lamp shows, until its situation changes or time makes it another look.

    Attributes:
        word: Name of it.
        colours: What it aims at, one or several in turn.
        pattern: How the light moves.
        cycle_ms: After how long the pattern repeats; 0 for a steady light.
        began_ms: When the pattern began.
        level: The level shown, with what lateness adds, or ``None`` where it shows none.
        dimmable: Whether the brightness of lamp and room counts; a lamp that is looked for blinks in full.
    """

    word: Word
    colours: tuple[Colour, ...]
    pattern: Pattern = Pattern.STEADY
    cycle_ms: int = 0
    began_ms: float = 0.0
    level: int | None = None
    dimmable: bool = True

    @property
    def afterglow(self) -> bool:
        """Whether orange and red fade slowly."""
        return self.pattern is Pattern.STEADY

    def aims_at(self, now_ms: float) -> Colour:
        """Return the colour it aims at."""
        return moving(self.pattern, self.colours, self.cycle_ms, max(0.0, now_ms - self.began_ms))


_OF_LINK = {
    Link.NO_SETTINGS: Look(word=Word.NO_SETTINGS, colours=(ALL,), pattern=Pattern.BREATHE, cycle_ms=6_000),
    Link.NO_WIFI: Look(word=Word.NO_WIFI, colours=(RED,), pattern=Pattern.FLASH, cycle_ms=2_000),
    Link.NO_GATEWAY: Look(word=Word.NO_GATEWAY, colours=(ORANGE,), pattern=Pattern.FLASH, cycle_ms=2_000),
    Link.CONNECTED: Look(word=Word.WAITING, colours=(ORANGE,), pattern=Pattern.BREATHE, cycle_ms=4_000),
}
_OF_STATE = {
    state: Look(word=Word(state.value), colours=(ORANGE,), pattern=Pattern.BREATHE, cycle_ms=4_000)
    for state in State
    if state is not State.OK
}
_STALE = Look(word=Word.STALE, colours=(RED, ORANGE), pattern=Pattern.IN_TURN, cycle_ms=2_000)
_UPDATING = Look(word=Word.UPDATING, colours=(ORANGE,), pattern=Pattern.CHASE, cycle_ms=1_000)


def look_of(situation: Situation, now_ms: float) -> Look:
    """Return what a lamp shows in a situation."""
    if now_ms < situation.started_ms + SELF_TEST_MS:
        return Look(
            word=Word.SELF_TEST,
            colours=(GREEN, ORANGE, RED),
            pattern=Pattern.IN_TURN,
            cycle_ms=SELF_TEST_MS,
            began_ms=situation.started_ms,
            dimmable=False,
        )
    identify_until_ms = situation.identify_until_ms
    if identify_until_ms is not None and now_ms < identify_until_ms:
        return Look(word=Word.IDENTIFY, colours=(ALL,), pattern=Pattern.BLINK, cycle_ms=500, dimmable=False)
    if situation.updating:
        return _UPDATING
    override = situation.override
    if override is not None and now_ms < override.until_ms:
        colour = DARK if override.level is None else colour_of(override.level)
        return Look(word=Word.OVERRIDE, colours=(colour,), level=override.level)
    return _of_level(situation, now_ms)


def late_by(silence_ms: float, period_ms: int) -> int:
    """Return how many levels are late: each counts from half a period after it was due."""
    return max(0, int(silence_ms / period_ms - LATE_PERIODS + 1.0))


def _of_level(situation: Situation, now_ms: float) -> Look:
    heard, link = situation.heard, situation.link
    if heard is None or link is Link.NO_SETTINGS:
        return _OF_LINK[link]
    silence_ms = now_ms - heard.at_ms
    if silence_ms >= heard.lease_ms:
        return _STALE if link is Link.CONNECTED else _OF_LINK[link]
    if heard.state is not State.OK:
        return _OF_STATE[heard.state]
    late = late_by(silence_ms, situation.period_ms)
    level = min(100, heard.level + LATE_POINTS * late)
    return Look(word=Word.LATE if late else Word.LEVEL, colours=(colour_of(level),), level=level)

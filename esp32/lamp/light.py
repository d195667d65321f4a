"""What the lamp shows, and the words for it. Never green unless a fresh level says so.

The rules are those of ``espfleet/domain/light.py``; a test holds the two together. ``docs/lamps.md`` has the words.
"""

from micropython import const

from lamp import colours

NO_SETTINGS = const(0)
NO_WIFI = const(1)
NO_GATEWAY = const(2)
CONNECTED = const(3)

SELF_TEST_MS = const(900)
_LATE_POINTS = const(5)

# A look: word, colours, pattern, cycle in ms.
_LINKS = (
    ("no settings", (colours.ALL,), colours.BREATHE, 6000),
    ("no Wi-Fi", (colours.RED,), colours.FLASH, 2000),
    ("no gateway", (colours.ORANGE,), colours.FLASH, 2000),
    ("waiting", (colours.ORANGE,), colours.BREATHE, 4000),
)
_SELF_TEST = ("self-test", (colours.GREEN, colours.ORANGE, colours.RED), colours.IN_TURN, SELF_TEST_MS)
_IDENTIFY = ("identify", (colours.ALL,), colours.BLINK, 500)
_UPDATING = ("updating", (colours.ORANGE,), colours.CHASE, 1000)
_STALE = ("stale", (colours.RED, colours.ORANGE), colours.IN_TURN, 2000)


class Situation:
    """All that decides what the lamp shows. Times are those of the lamp's clock.

    Attributes:
        started_ms: When it started.
        link: How far it has come on its way to the gateway.
        level: The last level it was told, 0 to 100, or ``None``.
        state: Whether that level says something about the network: ``ok`` or another word.
        heard_ms, lease_ms: When it came, and how long it may be shown.
        period_ms: A level is promised at least this often.
        identify_until_ms: Until when it shows which one it is, or ``None``.
        override: What it shows instead of its level, 50 to 100 or ``None`` for darkness.
        override_until_ms: Until when, or ``None`` for no override.
        updating: Whether new firmware is being written.
    """

    def __init__(self, now_ms: int) -> None:
        self.started_ms = now_ms
        self.link = NO_SETTINGS
        self.level = None
        self.state = "ok"
        self.heard_ms = now_ms
        self.lease_ms = 0
        self.period_ms = 500
        self.identify_until_ms = None
        self.override = None
        self.override_until_ms = None
        self.updating = False

    def look(self, now_ms: int) -> tuple:
        """Return what is shown: word, colours, pattern, cycle in ms, and the level shown or ``None``."""
        if now_ms < self.started_ms + SELF_TEST_MS:
            return _SELF_TEST + (None,)
        if self.identify_until_ms is not None and now_ms < self.identify_until_ms:
            return _IDENTIFY + (None,)
        if self.updating:
            return _UPDATING + (None,)
        if self.override_until_ms is not None and now_ms < self.override_until_ms:
            level = self.override
            colour = colours.DARK if level is None else colours.of_level(level)
            return ("override", (colour,), colours.STEADY, 0, level)
        link = self.link
        if self.level is None or link == NO_SETTINGS:
            return _LINKS[link] + (None,)
        silence_ms = now_ms - self.heard_ms
        if silence_ms >= self.lease_ms:
            return (_STALE if link == CONNECTED else _LINKS[link]) + (None,)
        if self.state != "ok":
            return (self.state,) + _LINKS[CONNECTED][1:] + (None,)
        # Each level is late from half a period after it was due.
        late = max(0, (2 * silence_ms - self.period_ms) // (2 * self.period_ms))
        level = min(100, self.level + _LATE_POINTS * late)
        return ("late" if late else "level", (colours.of_level(level),), colours.STEADY, 0, level)

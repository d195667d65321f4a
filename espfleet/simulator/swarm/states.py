"""How a lamp of a swarm can be: for the script, for the network, and for who looks at it."""

from __future__ import annotations

from enum import Enum, StrEnum


class Part(Enum):
    """What the script has made of a lamp."""

    AWAITED = "not there yet"
    THERE = "there"
    FROZEN = "says nothing more"
    DEAD = "without power"
    LEFT = "has said goodbye"


class Stage(Enum):
    """How far a lamp has come on its way to the gateway."""

    AWAY = 0
    WAITING = 1
    OPENING = 2
    GREETING = 3
    LIVE = 4
    LEAVING = 5


class Glow(StrEnum):
    """What can be seen of a lamp; ``domain.light`` says it in more words."""

    GREEN = "green"
    ORANGE = "orange"
    RED = "red"
    #: It breathes: it waits for its first level, or nothing is known of its group.
    UNKNOWN = "unknown"
    #: The lease of its level is over, and the gateway silent.
    STALE = "stale"
    #: It flashes: it has no gateway and no level that it may still show.
    NO_GATEWAY = "no gateway"
    #: It is not there.
    DARK = "dark"


class Elsewhere:
    """A lamp that another process runs: nothing but what the script makes of it, which is the same in each process."""

    __slots__ = ("number", "part")

    def __init__(self, number: int) -> None:
        self.number = number
        self.part = Part.AWAITED

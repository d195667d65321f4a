"""When a lamp tries again, and what it says meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from espfleet.domain.closing import CloseCode, retry_after_ms

FIRST_MS = 500
MOST_MS = 30_000
#: Of what the gateway may ask for.
LONGEST_MS = 600_000
#: The gateway will say the same until a person does something; a lamp asks all the same, after this to twice this.
_LONG_MS = 30_000
#: What the gateway cannot read may only have been broken on its way: a lamp asks again sooner, and waits twice as long
#: each time in a row.
_UNREADABLE_MS = 1_000
#: A second lamp with the same id is alive; two that fought over it would take turns for ever.
_REPLACED_MS = (5_000, 10_000)
_REFUSALS: Mapping[int, str] = {
    CloseCode.TOKEN: "the gateway does not accept the token",
    CloseCode.PROTOCOL: "the gateway does not speak this protocol",
    CloseCode.UNREGISTERED: "the lamp is not registered",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt or a connection ended.

    Attributes:
        why: One sentence, without a full stop.
        code: Close code of the gateway, or ``None`` if there was none.
        retry_after_ms: How long the gateway asks to wait, or ``None``.
    """

    why: str
    code: int | None = None
    retry_after_ms: int | None = None

    @property
    def refused(self) -> bool:
        """Whether nothing will change until a person does something."""
        return self.code in _REFUSALS

    @property
    def token_refused(self) -> bool:
        """Whether it was the token that the gateway did not like."""
        return self.code in (CloseCode.TOKEN, CloseCode.UNREGISTERED)


def closed(code: int | None, reason: str) -> Ending:
    """Return how a connection ended that the gateway closed with a code and a reason, or without (``None``)."""
    if code is None or code == 1006:
        return Ending(why="the connection broke")
    why = _REFUSALS.get(code, "the gateway closed the connection")
    told = f"{why} ({code}: {reason})" if reason else f"{why} ({code})"
    return Ending(why=told, code=code, retry_after_ms=retry_after_ms(reason))


class Backoff:
    """Waits before the next attempt, and never gives up.

    A wait is at random up to half a second more than was waited since the gateway was lost, and up to 30 s: attempts
    become rare while it stays away, and once it is back a lamp comes after as long again at most.
    """

    __slots__ = ("_random", "_unreadable_ms", "_waited_ms")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._waited_ms = 0
        self._unreadable_ms = 0

    def reset(self) -> None:
        """Begin again with short waits: the gateway has welcomed the lamp."""
        self._waited_ms = 0

    def next_ms(self, ending: Ending) -> int:
        """Return how long to wait after ``ending``, in ms."""
        if ending.retry_after_ms is not None:
            # Already spread over the fleet by the gateway.
            return min(ending.retry_after_ms, LONGEST_MS)
        unreadable = ending.code == CloseCode.PROTOCOL
        self._unreadable_ms = min(2 * self._unreadable_ms or _UNREADABLE_MS, _LONG_MS) if unreadable else 0
        if ending.refused:
            least_ms = self._unreadable_ms or _LONG_MS
            return self._random.randint(least_ms, 2 * least_ms)
        if ending.code == CloseCode.REPLACED:
            return self._random.randint(*_REPLACED_MS)
        wait_ms = self._random.randint(0, min(MOST_MS, FIRST_MS + self._waited_ms))
        self._waited_ms += wait_ms
        return wait_ms

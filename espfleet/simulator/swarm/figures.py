"""What happens to the lamps of a load test: counted as it happens, told once a second and at the end."""

from __future__ import annotations

import re
from array import array
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from espfleet.simulator.backoff import Ending
from espfleet.simulator.swarm.states import Glow

#: What is each lamp's own in the reason why it ended: when it may come back, its id, its name.
_OWN = re.compile(r"; retry_after_ms=[0-9]+|(?: with id| of) (?:[0-9a-f]{12}|sim-[0-9]+)\b|\bsim-[0-9]+ ")
#: Times that are kept, the latest.
_KEPT = 1_000_000
_COUNTS = ("levels", "keepalives", "_changes", "_refused", "_failed", "_reconnects")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How long something took: half of the time at most, nearly always at most, and at worst; ms."""

    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A second of a test, or all of it.

    Attributes:
        at_s: Time since the test began.
        connected: Lamps that were welcomed and are still connected.
        glows: How many lamps show what, by word.
        refused: Attempts that ended with a time to come back.
        failed: Attempts and connections that ended otherwise, without the lamp wanting it.
        reconnects: Welcomes of lamps that were connected before.
        levels: Levels heard.
        changes: Those of them that changed what their lamp shows.
        keepalives: Keepalives sent.
        delay: From the gateway's sending of a change to the lamp, or ``None`` where that cannot be measured.
        welcome: From the beginning of an attempt to the welcome, or ``None`` without any.
        busy: Share of one core that the busiest process of the test used, 1 is all of it.
    """

    at_s: float
    connected: int
    glows: Mapping[str, int]
    refused: int
    failed: int
    reconnects: int
    levels: int
    changes: int
    keepalives: int
    delay: Spread | None
    welcome: Spread | None
    busy: float


class Figures:
    """Counts what happens.

    Args:
        same_clock: Whether the gateway runs on this machine, so that its times can be compared.

    Attributes:
        levels, keepalives: As in ``Report``.
        endings: Why connections and attempts ended.
    """

    def __init__(self, same_clock: bool) -> None:
        self._same_clock = same_clock
        self.levels = self.keepalives = 0
        self.endings: Counter[str] = Counter()
        self._changes = self._refused = self._failed = self._reconnects = 0
        self._delays_ms, self._welcomes_ms = array("f"), array("f")

    def changed(self, delay_ms: float | None) -> None:
        """A lamp shows another level than before, so long after the gateway sent it."""
        self._changes += 1
        if delay_ms is not None and self._same_clock:
            self._delays_ms.append(delay_ms)

    def welcomed(self, after_ms: float, *, again: bool) -> None:
        """A lamp was welcomed, perhaps not for the first time."""
        self._reconnects += again
        self._welcomes_ms.append(after_ms)

    def lost(self, ending: Ending) -> None:
        """An attempt or a connection has ended, and no lamp wanted it."""
        if ending.retry_after_ms is None:
            self._failed += 1
        else:
            self._refused += 1
        self.endings[_OWN.sub("", ending.why)] += 1

    def add(self, other: Figures) -> None:
        """Count also what another one has counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.endings += other.endings
        self._delays_ms += other._delays_ms
        self._welcomes_ms += other._welcomes_ms
        # A test may go on for days.
        del self._delays_ms[:-_KEPT], self._welcomes_ms[:-_KEPT]

    def to_dict(self) -> dict[str, Any]:
        """Return what was counted, for JSON."""
        return {
            "counts": [getattr(self, name) for name in _COUNTS],
            "endings": dict(self.endings),
            "times": [b64encode(times.tobytes()).decode() for times in (self._delays_ms, self._welcomes_ms)],
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` was made from."""
        figures = cls(same_clock=True)
        for name, count in zip(_COUNTS, values["counts"], strict=True):
            setattr(figures, name, count)
        figures.endings.update(values["endings"])
        for times, text in zip((figures._delays_ms, figures._welcomes_ms), values["times"], strict=True):
            times.frombytes(b64decode(text))
        return figures

    def report(self, *, at_s: float, connected: int, glows: Mapping[Glow, int], busy: float) -> Report:
        """Return all that was counted, with how things are now."""
        return Report(
            at_s=round(at_s, 1),
            connected=connected,
            glows={glow.value: glows.get(glow, 0) for glow in Glow},
            refused=self._refused,
            failed=self._failed,
            reconnects=self._reconnects,
            levels=self.levels,
            changes=self._changes,
            keepalives=self.keepalives,
            delay=_spread(self._delays_ms),
            welcome=_spread(self._welcomes_ms),
            busy=round(busy, 2),
        )


def _spread(times_ms: Sequence[float]) -> Spread | None:
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    count = len(ordered)
    return Spread(
        p50_ms=round(ordered[count // 2], 1),
        p99_ms=round(ordered[count * 99 // 100], 1),
        worst_ms=round(ordered[-1], 1),
    )

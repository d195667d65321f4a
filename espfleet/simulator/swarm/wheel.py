"""One clock for all lamps: what is due is kept by the moment, so that no lamp needs a timer of its own."""

from __future__ import annotations

from collections import deque
from typing import Protocol

TICK_MS = 20


class Sleeper(Protocol):
    """Who waits for a moment; always for one only."""

    #: The tick in which it is due; 0 while it waits for none.
    due: int

    def ring(self, now_ms: float) -> None:
        """The moment has come."""


class Wheel:
    """Wakes sleepers within about ``TICK_MS`` of their moment, never early. Times in ms on one clock.

    A sleeper that is put in again before its moment has come waits for the new one only.
    """

    def __init__(self, now_ms: float) -> None:
        self._tick = _tick_of(now_ms)
        self._sleepers: dict[int, list[Sleeper]] = {}
        self._due: deque[tuple[int, Sleeper]] = deque()

    def put(self, sleeper: Sleeper, at_ms: float) -> None:
        """Wake a sleeper at a moment."""
        sleeper.due = max(_tick_of(at_ms), self._tick) + 1
        self._sleepers.setdefault(sleeper.due, []).append(sleeper)

    def turn(self, now_ms: float, most: int) -> bool:
        """Wake up to ``most`` sleepers whose moment has come; return whether there are more."""
        newest = _tick_of(now_ms)
        while self._tick < newest:
            self._tick += 1
            self._due.extend((self._tick, sleeper) for sleeper in self._sleepers.pop(self._tick, ()))
        woken = 0
        while self._due and woken < most:
            tick, sleeper = self._due.popleft()
            if sleeper.due == tick:
                sleeper.due = 0
                sleeper.ring(now_ms)
                woken += 1
        return bool(self._due)


def _tick_of(at_ms: float) -> int:
    return int(at_ms // TICK_MS)

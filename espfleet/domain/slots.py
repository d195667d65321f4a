"""Slots for work that takes a while, given to sources in fair turn: none holds them all while others wait."""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Slots(Generic[T]):
    """Who works, and who waits for a slot. A source is what ``attempts.source_of`` says.

    A free slot goes to the source that holds the fewest. One source may hold them all while nobody else comes; when
    somebody else has waited for too long, the work that began first, of the source that holds the most, has to go.

    Args:
        most: Slots there are.
        most_waiting: How many may wait.
        patience_s: How long somebody waits for another source to finish.
    """

    def __init__(self, most: int, most_waiting: int, patience_s: float) -> None:
        self._most = most
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._held: dict[str, OrderedDict[T, None]] = {}
        self._held_count = 0
        #: Who waits, and since when, by source; the source whose turn it is comes first.
        self._lines: OrderedDict[str, deque[tuple[T, float]]] = OrderedDict()
        self._waiting = 0

    @property
    def waiting(self) -> int:
        """How many wait."""
        return self._waiting

    def come(self, source: str, one: T, now_s: float) -> T | None:
        """Let somebody wait for a slot.

        Returns:
            Who has to go, because no more may wait: the last of the source that has the most, perhaps this one.
        """
        self._lines.setdefault(source, deque()).append((one, now_s))
        self._waiting += 1
        if self._waiting <= self._most_waiting:
            return None
        longest = max(self._lines, key=lambda name: (len(self._lines[name]), name == source))
        return self._leave_line(longest, last=True)

    def begin(self) -> T | None:
        """Give a free slot to one who waits, and return who that is; ``None`` if there is no slot, or nobody waits."""
        if not self._lines or self._held_count >= self._most:
            return None
        source = min(self._lines, key=self._holds)
        one = self._leave_line(source, last=False)
        self._held.setdefault(source, OrderedDict())[one] = None
        self._held_count += 1
        return one

    def end(self, source: str, one: T) -> None:
        """Take a slot back, if it has not been taken away."""
        held = self._held.get(source)
        if held is not None and one in held:
            del held[one]
            self._held_count -= 1
            if not held:
                del self._held[source]

    def cut(self, now_s: float) -> T | None:
        """Take a slot away for somebody who has waited for too long, and return whose it was; ``None`` if none has.

        It leaves alone whoever holds no more than those who wait.
        """
        if self._held_count < self._most:
            return None
        since_s = now_s - self._patience_s
        overdue = [name for name, line in self._lines.items() if line[0][1] <= since_s]
        if not overdue:
            return None
        largest = max(self._held, key=self._holds)
        if self._holds(largest) < 2 + min(map(self._holds, overdue)):
            return None
        one = next(iter(self._held[largest]))
        self.end(largest, one)
        return one

    def leave(self) -> list[T]:
        """Let nobody wait any more, and return who did."""
        gone = [one for line in self._lines.values() for one, _ in line]
        self._lines.clear()
        self._waiting = 0
        return gone

    def _holds(self, source: str) -> int:
        return len(self._held.get(source, ()))

    def _leave_line(self, source: str, *, last: bool) -> T:
        line = self._lines[source]
        one, _ = line.pop() if last else line.popleft()
        self._waiting -= 1
        if not line:
            del self._lines[source]
        elif not last:
            self._lines.move_to_end(source)
        return one

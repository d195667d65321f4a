"""When each probe is due.

All probes of an engine form one sequence: position ``number × slots + slot`` is the probe of ``slot`` in round
``number``. Every position has a due time counted from one origin, so that nothing drifts however late a tick is.
"""

from __future__ import annotations

from dataclasses import dataclass

MS = 1_000_000
#: Between two ticks lie about this many probes …
PROBES_PER_TICK = 32
#: … but never less or more time than this: below 2 ms waking costs more than probing, above 20 ms lamps would lag.
TICK_NS = (2 * MS, 20 * MS)
#: The first round is squeezed together, so that a target probed once an hour need not wait an hour for its first …
FIRST_ROUND_NS = 1_000 * MS
#: … but no tighter than this per probe.
FIRST_STEP_NS = 1 * MS


@dataclass(frozen=True, slots=True)
class Pace:
    """The schedule of one engine.

    Attributes:
        slots: Probes in a round; at least 1.
        interval_ns: Length of a round.
        origin_ns: When round 0 begins, monotonic.
    """

    slots: int
    interval_ns: int
    origin_ns: int

    @property
    def tick_ns(self) -> int:
        """Time between ticks while probes keep coming."""
        shortest, longest = TICK_NS
        return min(max(self.interval_ns * PROBES_PER_TICK // self.slots, shortest), longest)

    def due_count(self, now_ns: int) -> int:
        """Return how many positions are due; the last of them is one less."""
        elapsed = now_ns - self.origin_ns
        if elapsed < 0:
            return 0
        if elapsed < self.interval_ns:
            return min(self.slots, elapsed * self.slots // self._window_ns(0) + 1)
        return elapsed * self.slots // self.interval_ns + 1

    def due_ns(self, position: int) -> int:
        """Return when a position is due."""
        number, slot = divmod(position, self.slots)
        # Rounded up: at the time returned, due_count includes the position.
        return self.start_ns(number) - (-slot * self._window_ns(number) // self.slots)

    def start_ns(self, number: int) -> int:
        """Return when a round begins."""
        return self.origin_ns + number * self.interval_ns

    def step_ns(self, number: int) -> int:
        """Return the time between two neighbours in a round."""
        return self._window_ns(number) // self.slots

    def _window_ns(self, number: int) -> int:
        if number:
            return self.interval_ns
        return min(self.interval_ns, max(FIRST_ROUND_NS, FIRST_STEP_NS * self.slots))

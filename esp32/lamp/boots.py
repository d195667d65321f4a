"""How often the lamp started, and why: what it remembers from one start to the next, as long as it has power."""

import json


class Boots:
    """Memory that outlives a restart.

    Args:
        memory: Reads it when called without, and writes it when called with bytes.
        cause: Why the chip says it started, for when nothing better is known.

    Attributes:
        count: How often it started since it has power.
        reason: Why it started this time.
        crashes: How often it crashed in a row.
        trials: How often it started on trial, after an update; ``slots`` counts.
    """

    def __init__(self, memory, cause: str) -> None:
        self._memory = memory
        try:
            self.count, self.crashes, why, self.trials = json.loads(memory())
            self.count += 1
            self.reason = why or cause
        except (ValueError, TypeError):
            self.count, self.crashes, self.reason, self.trials = 1, 0, cause, 0
        self.note("", self.crashes)

    def note(self, why: str, crashes: int) -> None:
        """Write down why the lamp is about to start again, and how often it has crashed in a row."""
        self.crashes = crashes
        why = "".join([char if " " <= char <= "~" else "?" for char in why[:64]])
        self._memory(json.dumps([self.count, crashes, why, self.trials]).encode())

    def pause_ms(self) -> int:
        """Return how long to wait before the next start, so that a lamp that crashes at once stays reachable."""
        return min(30_000, 500 << min(self.crashes, 6))

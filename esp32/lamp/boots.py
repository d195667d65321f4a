"""How often the lamp started, and why: what it remembers from one start to the next, as long as it has power."""

import json

_WORD_CHARS = 64


class Boots:
    """Memory that outlives a restart.

    Args:
        memory: Reads it when called without, and writes it when called with bytes.
        cause: Why the chip says it started, for when nothing better is known.

    Attributes:
        count: How often it started since it has power.
        reason: Why it started this time.
        crashes: How often it crashed in a row.
    """

    def __init__(self, memory, cause: str) -> None:
        self._memory = memory
        kept = {}
        try:
            kept = json.loads(memory())
        except ValueError:
            pass
        if not isinstance(kept, dict):
            kept = {}
        self.count = _number(kept.get("count")) + 1
        self.crashes = _number(kept.get("crashes"))
        self.reason = kept.get("why") or cause
        self._keep("")

    def note(self, why: str, crash: bool) -> None:
        """Write down why the lamp is about to start again."""
        self.crashes = self.crashes + 1 if crash else 0
        self._keep("".join([char if " " <= char <= "~" else "?" for char in why])[:_WORD_CHARS])

    def healthy(self) -> None:
        """Forget earlier crashes: it has been running for a while."""
        if self.crashes:
            self.crashes = 0
            self._keep("")

    def pause_ms(self) -> int:
        """Return how long to wait before the next start, so that a lamp that crashes at once stays reachable."""
        return min(30_000, 500 << min(self.crashes, 6))

    def _keep(self, why: str) -> None:
        self._memory(json.dumps({"count": self.count, "crashes": self.crashes, "why": why}).encode())


def _number(value) -> int:
    return value if type(value) is int and 0 <= value < 1_000_000_000 else 0

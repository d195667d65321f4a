"""When the lamp tries again after the gateway was lost, and what it says meanwhile.

The rules are those of ``espfleet/simulator/backoff.py``: at random up to 0.5 s more than was waited so far, and up to
30 s; never giving up.
"""

from micropython import const

_FIRST_MS = const(500)
_MOST_MS = const(30_000)
# After what only a person can mend: this to twice this.
_LONG_MS = const(30_000)
# Of what the gateway may ask for.
_LONGEST_MS = const(600_000)

# Close codes after which nothing changes until a person does something; asked again all the same.
REFUSALS = {
    4001: "the gateway does not accept the token",
    4003: "the gateway does not speak this protocol",
    4004: "the lamp is not registered",
}
# A second lamp with the same id is alive; two that fought over it would take turns for ever.
_REPLACED = const(4002)


class Backoff:
    """Counts attempts and says how long to wait for the next.

    Args:
        random: Returns a whole number from 0 to below its argument.
    """

    def __init__(self, random) -> None:
        self._random = random
        self._waited_ms = self._unreadable_ms = 0

    def reset(self) -> None:
        """Begin again with short waits."""
        self._waited_ms = 0

    def next_ms(self, code, retry_after_ms) -> int:
        """Return how long to wait.

        Args:
            code: With which the gateway closed, or ``None``.
            retry_after_ms: How long it asks to wait, or ``None``.
        """
        if retry_after_ms is not None:
            # Already spread over the fleet by the gateway.
            return min(retry_after_ms, _LONGEST_MS)
        # Perhaps a message was only broken on its way: sooner, and twice as long each time in a row.
        self._unreadable_ms = min(2 * self._unreadable_ms or 1_000, _LONG_MS) if code == 4003 else 0
        if code in REFUSALS:
            least_ms = self._unreadable_ms or _LONG_MS
            return least_ms + self._random(least_ms + 1)
        if code == _REPLACED:
            return 5_000 + self._random(5_001)
        wait_ms = self._random(min(_MOST_MS, _FIRST_MS + self._waited_ms) + 1)
        self._waited_ms += wait_ms
        return wait_ms


def told(code: int, reason: str) -> str:
    """Return one sentence for a close with ``code`` and ``reason``."""
    why = REFUSALS.get(code, "the gateway closed the connection")
    return f"{why} ({code}: {reason})" if reason else f"{why} ({code})"


def retry_after_ms(reason: str):
    """Return how long a close reason asks to wait, or ``None``."""
    number = reason.partition("retry_after_ms=")[2][:9]
    while number and not number.isdigit():
        number = number[:-1]
    return int(number) if number else None

"""Time since the lamp started."""


class Clock:
    """Tells ms since it was made; it never jumps and never wraps.

    ``ticks_ms`` begins again after 2**30 ms, and two of its values can only be compared when they lie less than six
    days apart: a lamp runs for years. This clock only has to be asked once in six days.

    Args:
        ticks: ``time.ticks_ms``.
        difference: ``time.ticks_diff``.
    """

    def __init__(self, ticks, difference) -> None:
        self._ticks = ticks
        self._difference = difference
        self._last = ticks()
        self._now = 0

    def __call__(self) -> int:
        """Return now, in ms."""
        ticks = self._ticks()
        self._now += self._difference(ticks, self._last)
        self._last = ticks
        return self._now

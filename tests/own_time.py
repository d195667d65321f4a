"""Time as it passes for the tests: that in which a busy machine did not let them run does not count.

``own_s`` is for what one thread does. Everything of a test in one loop, lamps and gateways, is kept waiting together.
Who counts by this clock takes that for no silence of the other; where nobody is kept waiting it goes as any clock.

``promised`` is for what several processes do, and so are bounds of how long something takes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

#: Linux tells how long a thread has run, and how long it was ready to and did not, in ns.
_STATISTICS = Path("/proc/thread-self/schedstat")
#: And for how long in all somebody on this machine was ready to run and did not, in µs; not every kernel does.
_PRESSURE = Path("/proc/pressure/cpu")


def own_s() -> float:
    """Return the time in seconds on a clock of the calling thread, which never jumps."""
    waited_ns = _waited_ns()
    while True:
        now_s = time.monotonic()
        before_ns, waited_ns = waited_ns, _waited_ns()
        # Had it been kept waiting between the two, this clock would go back by as much.
        if waited_ns == before_ns:
            return now_s - waited_ns / 1e9


def _waited_ns() -> int:
    """Return how long in all the calling thread was ready to run and did not."""
    return int(_STATISTICS.read_text().split()[1])


def own_ms() -> float:
    """Return the same in ms."""
    return own_s() * 1_000


def calm_s() -> float:
    """Return the time in seconds on a clock that stands still while anybody on this machine waits for a core."""
    try:
        told = _PRESSURE.read_text()
    except OSError:
        return own_s()
    return time.monotonic() - int(told.split("total=")[1].split()[0]) / 1e6


@contextlib.contextmanager
def promised(within_s: float) -> Iterator[None]:
    """Fail if what is done meanwhile takes longer than this many seconds of a machine that keeps nobody waiting."""
    began_s = calm_s()
    yield
    took_s = calm_s() - began_s
    assert took_s < within_s, f"it took {took_s:.2f} s, and {within_s:g} s are promised"

"""Time as it passes for the tests of one thread: that in which a busy machine did not let it run does not count.

Everything of a test in one loop, lamps and gateways, is kept waiting together. Who counts by this clock takes that for
no silence of the other; where nobody is kept waiting it goes as any clock.
"""

from __future__ import annotations

import time
from pathlib import Path

#: Linux tells how long a thread has run, and how long it was ready to and did not, in ns.
_STATISTICS = Path("/proc/thread-self/schedstat")


def own_s() -> float:
    """Return the time in seconds on a clock of the calling thread, which never jumps."""
    return time.monotonic() - int(_STATISTICS.read_text().split()[1]) / 1e9


def own_ms() -> float:
    """Return the same in ms."""
    return own_s() * 1_000

"""The clock of Redis, by which every moment of the fleet goes, as this process knows it: nobody is asked to read it."""

from __future__ import annotations

import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path

#: An offset as text; no clock is further ahead of another.
_OFFSET = re.compile(rb"([0-9a-z]{1,32}) (-?[0-9]{1,15})")
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIME_SPACE = Path("/proc/self/ns/time")


def steady_ns() -> int:
    """Return a time that nobody sets and that goes on while the machine sleeps, where it has such a clock, in ns."""
    # time.monotonic_ns stands still meanwhile.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.monotonic_ns()


@cache
def steady_clock() -> str:
    """Return 16 hex digits that tell the clock of ``steady_ns`` from any other.

    The processes of one machine have it in common; where that cannot be known, it is this process's alone.
    """
    try:
        # Each start of a machine begins a new one; so may each container.
        parts = (_BOOT_ID.read_text().strip(), str(_TIME_SPACE.readlink()), socket.gethostname())
    except OSError:
        return secrets.token_hex(8)
    return blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Offset:
    """What Redis's clock shows beside one that nobody sets.

    Attributes:
        clock: Which one: ``steady_clock``.
        ahead_ms: How far Redis's is ahead of it.
    """

    clock: str
    ahead_ms: int

    def to_text(self) -> str:
        """Return it as ``parse`` takes it."""
        return f"{self.clock} {self.ahead_ms}"

    @classmethod
    def parse(cls, text: bytes) -> Offset | None:
        """Return what ``to_text`` wrote, and ``None`` for anything else."""
        found = _OFFSET.fullmatch(text)
        return cls(found[1].decode(), int(found[2])) if found else None


class Clock:
    """What the clock of the server shows now.

    It goes on by a clock that nobody sets, from what the server has told. Until that is known it is the clock of this
    machine. An answer that was long under way does not disturb what a quicker one told before.

    Args:
        ticks_us: Returns µs that never jump.
    """

    def __init__(self, ticks_us: Callable[[], int] = lambda: steady_ns() // 1_000) -> None:
        self._ticks_us = ticks_us
        self._ahead_us = time.time_ns() // 1_000 - ticks_us()

    def now_ms(self) -> int:
        """Return the time, ms since the epoch."""
        return (self._ticks_us() + self._ahead_us) // 1_000

    def ticks_us(self) -> int:
        """Return when it is, for ``told``."""
        return self._ticks_us()

    def offset(self) -> Offset:
        """Return how far the server's clock is ahead of the one that nobody sets."""
        return Offset(steady_clock(), self._ahead_us // 1_000)

    def told(self, asked_us: int, seconds: bytes | int, microseconds: bytes | int) -> int:
        """Go by an answer to ``TIME``, and return what it says, ms since the epoch.

        Args:
            asked_us: ``ticks_us`` before it was asked for.
            seconds: Of the answer.
            microseconds: Of the answer.
        """
        told_us = int(seconds) * 1_000_000 + int(microseconds)
        # The server looked at its clock after it was asked, and before it was heard.
        self._ahead_us = min(max(self._ahead_us, told_us - self._ticks_us()), told_us - asked_us)
        return told_us // 1_000

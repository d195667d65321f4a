"""Whether a version that runs on trial may stay. Borrowed by the app, at starts after an update."""

import asyncio

from micropython import const

import lamp as program
from lamp import VERSION, borrow
from lamp.log import log

_LOOK_MS = const(200)
_HEALTHY_MS = const(10_000)
_ALONE_MS = const(60_000)
# A connection that comes and goes is no better than none.
_MOST_MS = const(300_000)


class Trial:
    """Judges by what it is told now and then."""

    def __init__(self, now_ms: int) -> None:
        self._began_ms = self._heard_ms = now_ms
        self._since_ms = None

    def verdict(self, now_ms: int, connected: bool):
        """Return ``""`` once the version may stay, why it may not, or ``None`` while that is open."""
        if connected:
            self._heard_ms = now_ms
            if self._since_ms is None:
                self._since_ms = now_ms
            if now_ms - self._since_ms >= _HEALTHY_MS:
                return ""
        else:
            self._since_ms = None
        if now_ms - self._heard_ms >= _ALONE_MS:
            return f"it had no gateway for {_ALONE_MS // 1000} s"
        if now_ms - self._began_ms >= _MOST_MS:
            return f"its connection never lasted {_HEALTHY_MS // 1000} s"
        return None


async def run(lamp, beat) -> bool:
    """Wait for the verdict and act on it; the task is done then."""
    slots = borrow("slots", "")
    if slots.place(program.__file__) != lamp.slot["slot"]:
        lamp.slot = slots.back(lamp.slot, "the main.py of this lamp does not start slots")
        return True
    trial, why = Trial(lamp.clock()), None
    while why is None:
        beat()
        await asyncio.sleep_ms(_LOOK_MS)
        why = trial.verdict(lamp.clock(), lamp.session.welcomed)
    if why:
        log("update", f"{VERSION} goes back: {why}")
        lamp.slot = slots.back(lamp.slot, why)
        lamp.boots.trials = 0
        lamp.restart("back from " + VERSION)
    lamp.slot = slots.confirm()
    lamp.boots.trials = 0
    log("update", f"{VERSION} stays")
    await lamp.link.tell("update", state="running", version=VERSION)
    return True

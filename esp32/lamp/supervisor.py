"""Watches over the lamp's tasks: one that ends, fails or makes no progress restarts the lamp, with its reason."""

import asyncio
import io
import sys

from micropython import const

_LOOK_MS = const(1_000)
# Time to interrupt a lamp over the serial line before the hardware begins to watch over it.
_GRACE_MS = const(10_000)
_HEALTHY_MS = const(60_000)


class Supervisor:
    """Runs tasks that must never end, unless they return that they are done.

    Args:
        clock: Now, in ms.
        watch: Starts the hardware's watchdog and returns the function that feeds it.
        fail: Told one line when something is wrong; restarts the lamp.
        healthy: Called once, when everything has been well for a minute.
    """

    def __init__(self, clock, watch, fail, healthy) -> None:
        self._clock = clock
        self._watch = watch
        self._fail = fail
        self._healthy = healthy
        self._tasks = []

    def start(self, name: str, work, silent_ms: int) -> None:
        """Run ``work(beat)``, which calls ``beat()`` at least every ``silent_ms``."""
        pulse = [name, self._clock(), silent_ms]

        def beat() -> None:
            pulse[1] = self._clock()

        pulse.append(asyncio.create_task(self._run(pulse, work, beat)))
        self._tasks.append(pulse)

    async def watch(self) -> None:
        """Feed the watchdog for as long as every task makes progress."""
        began_ms, feed, well = self._clock(), None, False
        while True:
            await asyncio.sleep_ms(_LOOK_MS)
            now_ms = self._clock()
            for name, beat_ms, silent_ms, _ in self._tasks:
                if now_ms - beat_ms > silent_ms:
                    self._fail(f"{name} hangs")
            if feed:
                feed()
            elif now_ms - began_ms >= _GRACE_MS:
                feed = self._watch()
            if not well and now_ms - began_ms >= _HEALTHY_MS:
                well = True
                self._healthy()

    async def _run(self, pulse: list, work, beat) -> None:
        try:
            if await work(beat):
                self._tasks = [one for one in self._tasks if one is not pulse]
                return
            why = "ended"
        except (Exception, asyncio.CancelledError) as exc:
            sys.print_exception(exc)
            why = told(exc)
        self._fail(f"{pulse[0]}: {why}")


def told(exc: Exception) -> str:
    """Return an error in a few words, with the line where it came up."""
    stream = io.StringIO()
    sys.print_exception(exc, stream)
    lines = stream.getvalue().strip().split("\n")
    place = ""
    for line in lines:
        words = line.split('"')
        if len(words) == 3:
            place = words[1].split("/")[-1] + words[2].split(",")[1].replace(" line ", ":") + " "
    return place + lines[-1]

"""The lamp as a whole: what it is made of, how it starts, and how it stops."""

import asyncio
import gc
import os
import time

from micropython import const

from lamp import board, borrow
from lamp.board.light import Light
from lamp.boots import Boots
from lamp.clock import Clock
from lamp.http import Server
from lamp.light import Situation
from lamp.link import Link
from lamp.log import log
from lamp.painter import Painter
from lamp.session import Session
from lamp.supervisor import Supervisor, told
from lamp.wifi import Wifi

# Longer than anything that stops the lamp for good reasons; so long, at most, an old colour can stand still.
_WATCHDOG_MS = const(20_000)
# So long somebody may work at the prompt; the watchdog cannot be stopped.
_PROMPT_MS = const(3_600_000)
# Collected often, the heap stays small: what MicroPython takes from the system, Wi-Fi and TLS never get back.
_GARBAGE_BYTES = const(16_384)


class Lamp:
    """Everything a lamp is made of.

    Args:
        tasks: More for it to do, each a name, a coroutine function that takes the lamp and ``beat``, and how many ms
            may pass between two calls of ``beat()``.

    Attributes:
        settings: Values by key, see ``settings.TABLE``.
        hostname: What it calls itself in the network since it started.
        problems: What is wrong with them.
        watched: Whether the hardware's watchdog runs.
        slot: Which of two places it runs from, see ``slots.read``.
        update: The ``update.Update`` that is under way, or ``None``.
    """

    def __init__(self, *tasks: tuple) -> None:
        self.update, self.slot = None, slot()
        # The trial of a new version begins with a watchdog.
        self.watched = "back" in self.slot
        self._tasks = tasks
        self.clock = Clock(time.ticks_ms, time.ticks_diff)
        self.boots = Boots(board.memory, board.cause())
        self.settings, self.problems = borrow("settings").load(borrow("board.vault").Vault(), board)
        settings = self.settings
        self.situation = Situation(self.clock())
        self.light = Light(settings["output"], settings["light"], settings["inverted"], settings["pixels"])
        self.painter = Painter(self.situation, self.light.show, self.clock, settings["brightness"])
        self.hostname = name = settings["name"] or f"lamp-{board.device_id()[-4:]}"
        self.wifi = Wifi(board.station(name), settings, self.clock, chance)
        self.session = Session(self)
        self.session.name = name
        self.link = Link(self, chance)
        self.http = Server(self)
        self.supervisor = Supervisor(self.clock, self._watch, self.crash, self._healthy)

    async def run(self) -> None:
        """Be a lamp, for ever."""
        for problem in self.problems:
            log("settings", problem)
        start = self.supervisor.start
        start("light", self.painter.run, 5_000)
        start("wifi", self.wifi.run, 30_000)
        start("link", self.link.run, 60_000)
        start("talk", self.link.talk, 30_000)
        start("http", self.http.run, 30_000)
        if "back" in self.slot:
            start("trial", lambda beat: borrow("trial").run(self, beat), 5_000)
        for name, work, silent_ms in self._tasks:
            start(name, lambda beat, work=work: work(self, beat), silent_ms)
        await self.supervisor.watch()

    def restart(self, why: str) -> None:
        """Start again because somebody wants it."""
        self.boots.note(why, 0)
        self.stop()
        board.reset()

    def crash(self, why: str) -> None:
        """Start again because something is wrong, after a while that grows with every time."""
        log("lamp", why)
        self.boots.note(why, self.boots.crashes + 1)
        try:
            self.stop()
        except Exception as exc:
            # What broke may be the light itself.
            log("lamp", told(exc))
        time.sleep_ms(self.boots.pause_ms())
        board.reset()

    def stop(self) -> None:
        """Go dark and close everything; nothing else runs any more."""
        self.light.off()
        self.link.stop()
        self.http.stop()

    def _watch(self):
        self.watched = True
        return board.watch(_WATCHDOG_MS)

    def _healthy(self) -> None:
        self.boots.note("", 0)


def slot() -> dict:
    """Return what ``slots`` put in force; nothing, where it is not there."""
    try:
        return borrow("slots", "").read()
    except ImportError:
        return {}


def chance(below: int) -> int:
    """Return a random whole number from 0 to below ``below``."""
    return int.from_bytes(os.urandom(4), "big") % below


def main(*tasks: tuple) -> None:
    """Be a lamp until Ctrl-C; then leave a dark light and a prompt that works.

    Args:
        tasks: More for it to do, see ``Lamp``.
    """
    gc.threshold(_GARBAGE_BYTES)
    lamp = None
    try:
        lamp = Lamp(*tasks)
        asyncio.run(lamp.run())
    except KeyboardInterrupt:
        # Here and not in a task: an idle loop is left without running any task's "finally".
        if lamp:
            lamp.stop()
            if lamp.watched:
                board.watch(_PROMPT_MS)
        asyncio.new_event_loop()
        print("The lamp is off. Ctrl-D starts it again.")
    except Exception as exc:
        if lamp:
            lamp.crash(told(exc))
        boots = Boots(board.memory, "")
        boots.note(told(exc), boots.crashes + 1)
        time.sleep_ms(boots.pause_ms())
        board.reset()

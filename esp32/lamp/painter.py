"""Keeps the light moving, whatever the rest of the lamp is waiting for."""

import asyncio

from micropython import const

from lamp import colours
from lamp.fade import Glow
from lamp.log import log

_FRAME_MS = const(20)


class Painter:
    """Shows a situation.

    Args:
        situation: A ``light.Situation``.
        show: Takes what green, orange and red are fed with.
        clock: Now, in ms.
        most: Brightness that is never exceeded, percent.

    Attributes:
        percent: Brightness of the lamp as its fleet wants it.
        look: What is shown, as ``Situation.look`` returns it.
        shares: What green, orange and red are fed with.
    """

    def __init__(self, situation, show, clock, most: int) -> None:
        self.percent = 100
        self.look = situation.look(situation.started_ms)
        self.shares = colours.DARK
        self._situation = situation
        self._show = show
        self._clock = clock
        self._most = most
        self._told = ""
        self._fed = -1
        self._glow = Glow(situation.started_ms)

    async def run(self, beat) -> None:
        """Paint for ever."""
        while True:
            beat()
            self.paint(self._clock())
            await asyncio.sleep_ms(_FRAME_MS)

    def paint(self, now_ms: int) -> None:
        """Show one frame."""
        self.look = look = self._situation.look(now_ms)
        word, aims, pattern, cycle_ms, _ = look
        # A stutter comes and goes: it is on the light and in the keepalive.
        if word != self._told and word != "late":
            self._told = word
            log("light", word)
        # The self-test begins with the lamp; all others keep the time of its clock, so that words do not restart them.
        at_ms = now_ms - self._situation.started_ms if word == "self-test" else now_ms
        moved = self._glow.toward(colours.moving(pattern, aims, cycle_ms, at_ms), now_ms, pattern == colours.STEADY)
        percent = self._most
        # A lamp that is looked for blinks in full.
        if word not in ("self-test", "identify"):
            percent = percent * self.percent / 100
        # A light that stands still costs next to nothing.
        if moved or percent != self._fed:
            self._fed = percent
            self.shares = colours.output(self._glow.colour, percent)
            self._show(self.shares)

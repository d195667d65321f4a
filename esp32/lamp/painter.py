"""Keeps the light moving, whatever the rest of the lamp is waiting for."""

import asyncio

from micropython import const

from lamp import colours, light
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
        self._glow = Glow(situation.started_ms)

    async def run(self, beat) -> None:
        """Paint for ever."""
        while True:
            beat()
            self.paint(self._clock())
            await asyncio.sleep_ms(_FRAME_MS)

    def paint(self, now_ms: int) -> None:
        """Show one frame."""
        look = self._situation.look(now_ms)
        # A stutter comes and goes: it is on the light and in the keepalive.
        if look[0] != self._told and look[0] != "late":
            self._told = look[0]
            log("light", look[0])
        self.look = look
        aim = light.aim(look, self._situation.started_ms, now_ms)
        self._glow.toward(aim, now_ms, look[2] == colours.STEADY)
        percent = self._most
        if light.dimmable(look):
            percent = percent * self.percent / 100
        self.shares = colours.output(self._glow.colour, percent)
        self._show(self.shares)

"""A conversation with any WebSocket server that never ends: what the other examples stand on.

It uses the lamp's Wi-Fi, its settings and its WebSocket client, but neither its protocol nor its light. The settings
``networks`` and ``gateway`` say where to connect; nothing here has to be edited.
"""

import asyncio
import os
import time

from lamp import board, borrow
from lamp.backoff import Backoff
from lamp.clock import Clock
from lamp.link import LinkError
from lamp.log import log
from lamp.wifi import Wifi
from lamp.ws import ClosedError, FrameError

_OPEN_MS = 10_000


def chance(below):
    """Return a random whole number from 0 to below ``below``."""
    return int.from_bytes(os.urandom(4), "big") % below


class Conversation:
    """Stays connected and hands each message on.

    Args:
        heard: Coroutine function that takes the conversation and a message, text or bytes. Put your own here.

    Attributes:
        settings: Values by key, as in ``docs/firmware.md``.
        clock: Now, in ms since the start.
    """

    def __init__(self, heard) -> None:
        self.settings, _ = borrow("settings").load(borrow("board.vault").Vault(), board)
        self.clock = Clock(time.ticks_ms, time.ticks_diff)
        self._heard = heard
        self._ws = None
        self._wifi = Wifi(board.station(self.settings["name"] or "example"), self.settings, self.clock, chance)

    async def send(self, message) -> bool:
        """Send text or bytes; return whether there was a connection to send it on."""
        if self._ws is None:
            return False
        try:
            await self._ws.send(message)
        except OSError:
            # Whoever reads finds out too, and connects again.
            return False
        return True

    async def run(self) -> None:
        """Talk for ever."""
        wifi = asyncio.create_task(self._wifi.run(lambda: None))
        backoff, sockets = Backoff(chance), []
        while not wifi.done():
            if self._wifi.up:
                try:
                    await self._talk(sockets)
                    backoff.reset()
                except (LinkError, ClosedError, FrameError, OSError, EOFError, asyncio.TimeoutError) as exc:
                    log("talk", f"{type(exc).__name__} {exc}")
                finally:
                    self._ws = None
                    while sockets:
                        sockets.pop(0).close()
                await asyncio.sleep_ms(backoff.next_ms(None, None))
            await asyncio.sleep_ms(100)

    async def _talk(self, sockets: list) -> None:
        dns = self.settings["dns"] or self._wifi.station.ifconfig()[3]
        opening = borrow("dial").connect(self.settings["gateway"], dns, {}, sockets)
        self._ws = await asyncio.wait_for_ms(opening, _OPEN_MS)
        log("talk", "connected")
        while True:
            await self._heard(self, await self._ws.receive())

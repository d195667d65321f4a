"""A client as PING_LAMP's lamps are: no hello, keepalives only, and it reads nothing but ``level``."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from collections import deque
from collections.abc import Sequence
from typing import NoReturn
from urllib.parse import urlencode, urlsplit

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, WebSocketException

from espfleet.domain.light_patterns import DARK, Colour, colour_of, on_screen
from espfleet.domain.messages import KEEPALIVE
from espfleet.simulator.lamp import LampView
from espfleet.simulator.session import Clock, DirectConnect, monotonic_ms

logger = logging.getLogger(__name__)

KEEPALIVE_MS = 250
_WINDOW = 15
_FIRST_GAP_MS = 100.0
_LEAST_GAP_MS = 30.0
_LATE_POINTS = 5
_BACKOFF_S = (1, 2, 4, 8, 16, 30)


class Ear:
    """What such a lamp makes of the levels it hears; times in ms."""

    def __init__(self, now_ms: float) -> None:
        self.level: int | None = None
        self._heard_ms = now_ms
        self._gaps_ms: deque[float] = deque(maxlen=_WINDOW)

    def hear(self, text: str | bytes, now_ms: float) -> None:
        """Take in a message; one without a usable level still counts as heard."""
        self._gaps_ms.append(now_ms - self._heard_ms)
        self._heard_ms = now_ms
        try:
            values = json.loads(text)
        except ValueError:
            return
        level = values.get("level") if isinstance(values, dict) else None
        if isinstance(level, int | float) and not isinstance(level, bool) and 0 <= level <= 100:
            self.level = int(level)

    def shown(self, now_ms: float) -> int | None:
        """Return the level it shows: five points more for each usual gap that the server has been silent."""
        if self.level is None:
            return None
        gaps_ms = self._gaps_ms or (_FIRST_GAP_MS,)
        usual_ms = max(_LEAST_GAP_MS, sum(gaps_ms) / len(gaps_ms))
        silence_ms = now_ms - self._heard_ms
        late = silence_ms > max(1.1 * usual_ms, 0.8 * _FIRST_GAP_MS)
        return min(100, self.level + int(_LATE_POINTS * silence_ms / usual_ms)) if late else self.level


class PingLamp:
    """One client.

    Args:
        url: Where it connects; any path, and ``?token=…`` where its IP does not tell who it is.
        clock: Now, in ms, on a clock that never jumps.
        name: For logs and views.
        tls: How to check the certificate, for ``wss``.
    """

    def __init__(self, url: str, *, clock: Clock, name: str = "pinglamp", tls: ssl.SSLContext | None = None) -> None:
        self.name = name
        self.heard = asyncio.Event()
        self._url = url
        self._clock = clock
        self._tls = tls
        self._ear: Ear | None = None
        self._attempts = 0
        self._why = ""
        self._since_ms = clock()

    @property
    def level(self) -> int | None:
        """Level it shows, or ``None`` while it is not connected or has heard none."""
        return self._ear.shown(self._clock()) if self._ear else None

    def view(self) -> LampView:
        """Return what can be seen of it."""
        level = self.level
        colour = DARK if level is None else colour_of(level)
        return LampView(
            id="",
            name=self.name,
            address="",
            room=None,
            group=None,
            link="connected" if self._ear else "no gateway",
            why=self._why,
            for_ms=round(self._clock() - self._since_ms),
            word=("waiting" if self._ear else "no gateway") if level is None else "level",
            level=level,
            state=None,
            # Its makers knew no gamma: 255 steps, straight.
            channels=Colour(*(int(255 * share) / 255 for share in colour)),
            rgb=on_screen(colour),
        )

    async def run(self) -> NoReturn:
        """Stay connected until cancelled, waiting 1, 2, 4, 8, 16 and then 30 s between attempts."""
        while True:
            try:
                async with DirectConnect(
                    self._url, compression=None, ping_interval=None, proxy=None, close_timeout=0.5, ssl=self._tls
                ) as connection:
                    await self._talk(connection)
            except (OSError, TimeoutError, WebSocketException) as exc:
                self._why = str(exc)
            if self._ear is not None:
                self._ear, self._since_ms = None, self._clock()
            wait_s = _BACKOFF_S[min(self._attempts, len(_BACKOFF_S) - 1)]
            self._attempts += 1
            logger.info("%s is not connected (%s); next try in %d s", self.name, self._why, wait_s)
            await asyncio.sleep(wait_s)

    async def _talk(self, connection: ClientConnection) -> None:
        self._ear, self._why, self._attempts = Ear(self._clock()), "", 0
        self._since_ms = self._clock()
        keeper = asyncio.create_task(self._keep_alive(connection), name=f"keepalives of {self.name}")
        try:
            async for text in connection:
                self._ear.hear(text, self._clock())
                self.heard.set()
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        self._why = f"closed ({connection.close_code}: {connection.close_reason})"

    async def _keep_alive(self, connection: ClientConnection) -> None:
        try:
            while True:
                await connection.send(KEEPALIVE)
                await asyncio.sleep(KEEPALIVE_MS / 1000)
        except ConnectionClosed:
            return


def pinglamp_url(gateway_url: str, token: str) -> str:
    """Return where a PING_LAMP client connects: any path but protocol 1's, with the token that tells who it is."""
    return urlsplit(gateway_url)._replace(path="/", query=urlencode({"token": token})).geturl()


async def run_pinglamps(gateway_url: str, tokens: Sequence[str], *, tls: ssl.SSLContext | None = None) -> None:
    """Run one client for each token until cancelled."""
    async with asyncio.TaskGroup() as tasks:
        for number, token in enumerate(tokens, 1):
            lamp = PingLamp(pinglamp_url(gateway_url, token), clock=monotonic_ms, name=f"pinglamp-{number}", tls=tls)
            tasks.create_task(lamp.run(), name=lamp.name)

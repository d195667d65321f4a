"""How a simulated lamp stays connected: one task that connects, talks, and connects again, for ever."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from random import Random
from typing import Any, NoReturn
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.http11 import Response

from espfleet.domain.light import Link
from espfleet.domain.messages import KEEPALIVE, LAMP_PATH, TEXT_BYTES
from espfleet.domain.names import shown
from espfleet.errors import InvalidError
from espfleet.simulator import speech
from espfleet.simulator.backoff import Backoff, Ending, closed
from espfleet.simulator.lamp import Lamp

logger = logging.getLogger(__name__)

#: Now, in ms, on a clock that never jumps.
Clock = Callable[[], float]

OPEN_S = 5.0
CLOSE_S = 0.5
READINGS_MS = 30_000
#: Every so many keepalives one tells more than that the lamp lives.
FULL_KEEPALIVE_EVERY = 10
#: A gateway sends at least every period; so long a silence means that it is gone without a word.
SILENT_PERIODS = 10
SILENT_LEAST_MS = 5_000
BOOT_S = 0.3


def monotonic_ms() -> float:
    """Return the time in ms on a clock that never jumps."""
    return time.monotonic() * 1000


class DirectConnect(connect):
    """Connects to the gateway that was asked for and to no other: a redirect would carry the token elsewhere."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the redirect as the failure that it is."""
        return exc


def lamp_url(gateway_url: str) -> str:
    """Return where lamps connect at a gateway: ``/lamp`` unless the URL has a path of its own.

    Raises:
        InvalidError: If it is not ``ws://HOST:PORT`` or ``wss://HOST:PORT``.
    """
    try:
        url = urlsplit(gateway_url)
        usable = url.scheme in ("ws", "wss") and bool(url.hostname) and url.port != 0 and not url.fragment
    except ValueError:
        usable = False
    if not usable or not gateway_url.isprintable() or len(gateway_url) > 300 or url.username is not None:
        raise InvalidError(
            f"{shown(gateway_url)} is not the URL of a gateway: use ws://HOST:PORT or wss://HOST:PORT", field="gateway"
        )
    return url._replace(path=LAMP_PATH).geturl() if url.path in ("", "/") else gateway_url


class Session:
    """Keeps one lamp connected. ``freeze``, ``stop_reading`` and ``cut`` are faults for tests."""

    def __init__(
        self,
        lamp: Lamp,
        gateway_url: str,
        *,
        clock: Clock,
        random: Random,
        tls: ssl.SSLContext | None = None,
        readings_ms: int = READINGS_MS,
    ) -> None:
        self.lamp = lamp
        self._gateway_url = gateway_url
        self._clock = clock
        self._backoff = Backoff(random)
        self._tls = tls
        self._readings_ms = readings_ms
        self._next_readings_ms = 0.0
        self._connection: ClientConnection | None = None
        self._woken = asyncio.Event()
        self._frozen = False
        self._reading = asyncio.Event()
        self._reading.set()
        self._told = ""

    async def run(self) -> NoReturn:
        """Stay connected until cancelled."""
        while True:
            if self.lamp.spec.token is None:
                await self._woken.wait()
            self._woken.clear()
            ending = await self._attempt()
            if self.lamp.reboot_wanted:
                await asyncio.sleep(BOOT_S)
                self.lamp.restart("reboot", self._clock())
                continue
            await self._wait(ending)

    def wake(self) -> None:
        """Connect now instead of when the wait is over: the lamp was given a token."""
        self._woken.set()

    async def say(self, text: str) -> bool:
        """Send a message and tell whether there was a connection to send it on."""
        if self._connection is None:
            return False
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            return False
        return True

    async def tell_event(self, name: str, fields: Mapping[str, Any]) -> bool:
        """Tell that something happened."""
        return await self.say(speech.event(name, fields))

    def freeze(self) -> None:
        """Say nothing more, as a program that hangs; the connection stays open."""
        self._frozen = True

    def stop_reading(self) -> None:
        """Leave everything that comes in the kernel's buffer."""
        self._reading.clear()
        if self._connection is not None:
            self._connection.transport.pause_reading()

    def thaw(self) -> None:
        """End ``freeze`` and ``stop_reading``."""
        self._frozen = False
        self._reading.set()
        if self._connection is not None and not self._connection.transport.is_closing():
            self._connection.transport.resume_reading()

    def cut(self) -> None:
        """Lose the connection without a closing word."""
        if self._connection is not None:
            self._connection.transport.abort()

    async def _wait(self, ending: Ending) -> None:
        now_ms, wait_ms = self._clock(), self._backoff.next_ms(ending)
        self.lamp.token_refused = ending.token_refused
        self.lamp.set_link(Link.NO_GATEWAY, now_ms, f"{ending.why}; next try in {wait_ms / 1000:.1f} s")
        if ending.why != self._told:
            self._told = ending.why
            level = logging.WARNING if ending.refused else logging.INFO
            logger.log(level, "lamp %s: %s", self.lamp.name, self.lamp.why)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_ms / 1000):
                await self._woken.wait()

    async def _attempt(self) -> Ending:
        url = lamp_url(self.lamp.spec.gateway_url or self._gateway_url)
        try:
            connection = await DirectConnect(
                url,
                compression=None,
                ping_interval=None,
                proxy=None,
                open_timeout=OPEN_S,
                close_timeout=CLOSE_S,
                max_size=16 * TEXT_BYTES,
                ssl=self._tls if url.startswith("wss:") else None,
            )
        except InvalidStatus as exc:
            return refused(exc.response)
        except TimeoutError:
            return Ending(why=f"{url} did not answer within {OPEN_S:g} s")
        except ssl.SSLError as exc:
            return Ending(why=f"{url} is not trusted ({exc.reason or exc})")
        except OSError as exc:
            return Ending(why=f"{url} cannot be reached ({exc.strerror or exc})")
        except WebSocketException as exc:
            return Ending(why=f"{url} does not speak WebSocket ({exc})")
        self._connection = connection
        try:
            return await self._talk(connection)
        except ConnectionClosed as exc:
            return closed(exc.rcvd.code, exc.rcvd.reason) if exc.rcvd else closed(None, "")
        finally:
            self._connection = None
            await connection.close(1001, "")

    async def _talk(self, connection: ClientConnection) -> Ending:
        lamp = self.lamp
        await connection.send(lamp.hello())
        heard_ms = now_ms = self._clock()
        keepalive_ms = now_ms + lamp.keepalive_ms
        sent = 0
        while True:
            text = await self._next(connection, keepalive_ms - now_ms)
            now_ms = self._clock()
            if text is not None:
                heard_ms = now_ms
                await self._hear(connection, text, now_ms)
                # The welcome may have asked for shorter times.
                keepalive_ms = min(keepalive_ms, now_ms + lamp.keepalive_ms)
            if lamp.reboot_wanted:
                return Ending(why="the lamp starts again")
            silent_ms = max(SILENT_LEAST_MS, SILENT_PERIODS * lamp.situation.period_ms)
            if now_ms - heard_ms >= silent_ms and not self._frozen and self._reading.is_set():
                connection.transport.abort()
                return Ending(why=f"the gateway said nothing for {(now_ms - heard_ms) / 1000:.1f} s")
            if now_ms >= keepalive_ms:
                full = sent % FULL_KEEPALIVE_EVERY == 0
                sent += 1
                keepalive_ms = now_ms + lamp.keepalive_ms
                await self._say(connection, lamp.keepalive(now_ms) if full else KEEPALIVE)
                # Numbers that come together cost the gateway half.
                if full and now_ms >= self._next_readings_ms:
                    self._next_readings_ms = now_ms + self._readings_ms
                    await self._say(connection, lamp.readings(now_ms))

    async def _hear(self, connection: ClientConnection, text: str | bytes, now_ms: float) -> None:
        was = self.lamp.situation.link
        for answer in self.lamp.hear(text, now_ms):
            await self._say(connection, answer)
        if self.lamp.situation.link is Link.CONNECTED and was is not Link.CONNECTED:
            self._backoff.reset()
            self._told = ""
            logger.info("lamp %s is connected as %s", self.lamp.spec.id, self.lamp.name)

    async def _next(self, connection: ClientConnection, wait_ms: float) -> str | bytes | None:
        """Return the next message, or ``None`` after ``wait_ms`` without one."""
        try:
            async with asyncio.timeout(max(0.0, wait_ms) / 1000):
                await self._reading.wait()
                return await connection.recv()
        except TimeoutError:
            return None

    async def _say(self, connection: ClientConnection, text: str) -> None:
        if not self._frozen:
            await connection.send(text)


def refused(response: Response) -> Ending:
    """Return how an attempt ended that was answered with something else than an upgrade."""
    asked = response.headers.get("Retry-After", "")
    is_tls = response.status_code == HTTPStatus.UPGRADE_REQUIRED
    return Ending(
        why="the gateway speaks TLS only: its address begins with wss://"
        if is_tls
        else f"the gateway answered HTTP {response.status_code}",
        retry_after_ms=1000 * int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 7 else None,
    )

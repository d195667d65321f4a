"""Keeps the lamp connected to its gateway: one task that connects, listens, and connects again, for ever.

``run`` is the only one that reads. ``talk`` sends keepalives and notices silence; what it gives up it ends by
cancelling ``run``, which closes the connection: a stream on which a read was cancelled is never read again.
"""

import asyncio
import gc
import struct

from micropython import const

from lamp import backoff, light, speech, urls
from lamp.dial import dial, trust
from lamp.log import log
from lamp.resolve import resolve
from lamp.ws import ClosedError, FrameError, HttpError, WebSocket, frame

_OPEN_MS = const(10_000)
_SEND_MS = const(5_000)
_CLOSE_MS = const(500)
_STEP_MS = const(50)
_READINGS_MS = const(10_000)
# Every so many keepalives one tells more than that the lamp lives.
_FULL_EVERY = const(10)
# A gateway sends at least every period; so long a silence means that it is gone without a word.
_SILENT_PERIODS = const(10)
_SILENT_LEAST_MS = const(5_000)
_GOING_AWAY = const(1001)


class LinkError(Exception):
    """Raised when no connection comes about; the text says why."""


class Link:
    """The lamp's way to its gateway.

    Args:
        lamp: Whose.
        random: Returns a whole number from 0 to below its argument.

    Attributes:
        why: Why it is not connected, or ``""``.
        refused: Close code of the last refusal that only a person can mend, or ``None``.
    """

    def __init__(self, lamp, random) -> None:
        self.why = ""
        self.refused = None
        self._lamp = lamp
        self._session = lamp.session
        self._backoff = backoff.Backoff(random)
        self._first_readings_ms = random(_READINGS_MS)
        self._ws = self._sock = self._task = self._context = None
        self._dropped = self._leaving = ""
        self._addresses = {}
        self._awake = False
        self._beat = None

    # What others ask of it

    def wake(self) -> None:
        """Connect now instead of when the wait is over."""
        self._awake = True

    def leave(self, why: str) -> None:
        """Say goodbye once the answer is sent, and restart the lamp."""
        self._leaving = why

    async def tell(self, name: str, **fields) -> bool:
        """Tell that something happened; return whether there was a connection to tell it on."""
        return await self._say(speech.write("event", name=name, **fields))

    def stop(self) -> None:
        """Close what is open, at once; nothing runs any more."""
        if self._ws and self._sock:
            try:
                self._sock.write(frame(8, struct.pack("!H", _GOING_AWAY), b"\0\0\0\0"))
            except OSError:
                pass
        self._hang_up()

    # The two tasks

    async def run(self, beat) -> None:
        """Stay connected for ever."""
        self._beat = beat
        self._task = asyncio.current_task()
        while True:
            beat()
            if self._place() < light.NO_GATEWAY:
                self._backoff.reset()
                await asyncio.sleep_ms(_STEP_MS)
                continue
            code, retry_after_ms = await self._attempt()
            # What a connection that failed leaves behind, TLS above all, is large.
            gc.collect()
            self.refused = code if code in backoff.REFUSALS else None
            await self._wait(self._backoff.next_ms(code, retry_after_ms), beat)

    async def talk(self, beat) -> None:
        """Send what is due, notice silence, and keep the light informed, for ever."""
        session, clock = self._session, self._lamp.clock
        keepalive_ms, readings_ms, sent = 0, self._first_readings_ms, 0
        while True:
            beat()
            await asyncio.sleep_ms(_STEP_MS)
            self._lamp.situation.link = self._place()
            if not self._ws:
                continue
            self._beat()
            now_ms = clock()
            silent_ms = max(_SILENT_LEAST_MS, _SILENT_PERIODS * self._lamp.situation.period_ms)
            if now_ms - session.heard_ms >= silent_ms:
                self._drop(f"the gateway said nothing for {silent_ms // 1000} s")
            elif not session.welcomed:
                continue
            elif now_ms >= keepalive_ms or keepalive_ms > now_ms + session.keepalive_ms:
                keepalive_ms = now_ms + session.keepalive_ms
                await self._say(speech.KEEPALIVE if sent % _FULL_EVERY else session.keepalive())
                sent += 1
            elif now_ms >= readings_ms:
                readings_ms = now_ms + _READINGS_MS
                await self._say(session.readings())

    # How they do it

    def _place(self) -> int:
        """Return how far the lamp has come on its way."""
        settings = self._lamp.settings
        if not (settings["networks"] and settings["gateway"] and settings["token"]):
            return light.NO_SETTINGS
        if not self._lamp.wifi.up:
            return light.NO_WIFI
        return light.CONNECTED if self._session.welcomed else light.NO_GATEWAY

    async def _attempt(self) -> tuple:
        """Connect and listen until that ends; return the close code and the wait the gateway asks for, or ``None``."""
        code = retry_after_ms = None
        self._dropped = ""
        try:
            await asyncio.wait_for_ms(self._open(), _OPEN_MS)
            await self._listen()
        except asyncio.TimeoutError:
            why = f"the gateway takes more than {_OPEN_MS // 1000} s"
        except asyncio.CancelledError:
            if not self._dropped:
                raise
            why = self._dropped
        except LinkError as exc:
            why = str(exc)
        except HttpError as exc:
            why, retry_after_ms = f"the gateway answers HTTP {exc.status}", exc.retry_after_ms
        except ClosedError as exc:
            code, retry_after_ms = exc.code, backoff.retry_after_ms(exc.reason)
            why = backoff.told(exc.code, exc.reason)
        except FrameError as exc:
            why = f"the gateway is none: {exc}"
            await self._goodbye(exc.code)
        except (OSError, EOFError):
            why = "the connection broke"
        finally:
            self._hang_up()
        if why != self.why:
            self.why = why
            log("link", why)
        return code, retry_after_ms

    async def _open(self) -> None:
        secure, host, port, path = urls.split(self._lamp.settings["gateway"])
        try:
            if secure and not self._context:
                self._context = trust()
        except (OSError, ValueError):
            raise LinkError("there is no certificate of the fleet to know the gateway by") from None
        try:
            address = await self._find(host)
            self._sock, stream = await dial(address, port, self._context if secure else None, host)
            ws = WebSocket(stream, stream)
            await ws.upgrade(f"{host}:{port}", path)
        except OSError as exc:
            raise LinkError(f"{host}:{port} cannot be reached ({exc})") from None
        except EOFError:
            raise LinkError(f"{host}:{port} hangs up at once") from None
        except ValueError as exc:
            # So MicroPython tells of certificates.
            raise LinkError(f"{host}:{port} is not trusted ({exc})") from None
        await ws.send(self._session.hello())
        self._session.heard_ms = self._lamp.clock()
        self._ws = ws

    async def _find(self, host: str) -> str:
        server, _, port = self._lamp.settings["dns"].partition(":")
        try:
            self._addresses = {host: await resolve(host, server or self._lamp.wifi.dns(), int(port or 53))}
        except (OSError, ValueError):
            if host not in self._addresses:
                raise
        return self._addresses[host]

    async def _listen(self) -> None:
        session = self._session
        while True:
            text = await self._ws.receive()
            session.heard_ms = self._lamp.clock()
            known = session.welcomed
            answer = await session.hear(text)
            if session.welcomed and not known:
                self._backoff.reset()
                self.why = ""
                log("link", f"connected as {session.name}")
            if answer:
                await self._send(answer)
            if self._leaving:
                await self._goodbye(_GOING_AWAY)
                self._lamp.restart(self._leaving)

    async def _send(self, text: str) -> None:
        await asyncio.wait_for_ms(self._ws.send(text), _SEND_MS)

    async def _say(self, text: str) -> bool:
        """Send from outside of ``run``."""
        if not self._ws:
            return False
        try:
            await self._send(text)
            return True
        except asyncio.TimeoutError:
            self._drop("the gateway takes nothing")
        except OSError:
            self._drop("the connection broke")
        return False

    async def _goodbye(self, code: int) -> None:
        try:
            if self._ws:
                await asyncio.wait_for_ms(self._ws.close(code), _CLOSE_MS)
        except (OSError, EOFError, FrameError, asyncio.TimeoutError):
            pass

    def _drop(self, why: str) -> None:
        if self._ws and not self._dropped:
            self._dropped = why
            self._task.cancel()

    def _hang_up(self) -> None:
        self._session.welcomed = False
        self._ws = None
        if self._sock:
            self._sock.close()
            self._sock = None

    async def _wait(self, for_ms: int, beat) -> None:
        until_ms = self._lamp.clock() + for_ms
        self._awake = False
        while self._lamp.clock() < until_ms and not self._awake and self._place() == light.NO_GATEWAY:
            beat()
            await asyncio.sleep_ms(_STEP_MS)

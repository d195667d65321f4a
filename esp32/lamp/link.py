"""Keeps the lamp connected to its gateway: one task that connects, listens, and connects again, for ever.

``run`` is the only one that reads. ``talk`` sends keepalives and notices silence; what it gives up it ends by
cancelling ``run``, which closes the connection: a stream on which a read was cancelled is never read again.
"""

import asyncio
import gc
import struct

from micropython import const

from lamp import backoff, borrow, light, speech
from lamp.log import log
from lamp.ws import CLOSE, ClosedError, FrameError, frame

_OPEN_MS = const(10_000)
_SEND_MS = const(5_000)
_CLOSE_MS = const(500)
_STEP_MS = const(50)
_READINGS_MS = const(30_000)
# Every so many keepalives one tells more than that the lamp lives.
_FULL_EVERY = const(10)
# A gateway sends at least every period; so long a silence means that it is gone without a word.
_SILENT_PERIODS = const(10)
_SILENT_LEAST_MS = const(5_000)
_GOING_AWAY = const(1001)
# Close codes: token wrong, and not registered.
_USELESS = (4001, 4004)


class LinkError(Exception):
    """Raised when there is no connection: with the reason, and perhaps the wait that is asked for, in ms."""


class Link:
    """The lamp's way to its gateway.

    Args:
        lamp: Whose.
        random: Returns a whole number from 0 to below its argument.

    Attributes:
        why: Why it is not connected, or ``""``.
        refused: Close code of the last refusal that only a person can mend, or ``None``.
        awake: Set to connect now instead of when the wait is over.
        leaving: Set to a reason to say goodbye, once the present answer is sent, and restart the lamp.
    """

    def __init__(self, lamp, random) -> None:
        self.why = ""
        self.refused = None
        self.awake = False
        self.leaving = ""
        self._lamp = lamp
        self._session = lamp.session
        self._random = random
        self._backoff = backoff.Backoff(random)
        self._ws = self._task = self._beat = None
        self._memory = {}
        self._sockets = []
        self._dropped = ""

    async def tell(self, name: str, **fields) -> bool:
        """Tell that something happened; return whether there was a connection to tell it on."""
        return await self.say(speech.write("event", name=name, **fields))

    def forget(self, what: str) -> None:
        """Find something out anew for the next connection: ``tls``, or the address of a name."""
        self._memory.pop(what, None)

    def stop(self) -> None:
        """Close what is open, at once; nothing runs any more."""
        if self._ws:
            try:
                self._sockets[0].write(frame(CLOSE, struct.pack("!H", _GOING_AWAY), b"\0\0\0\0"))
            except OSError:
                # It is closed all the same.
                pass
        self._hang_up()

    def place(self) -> int:
        """Return how far the lamp has come on its way."""
        settings = self._lamp.settings
        complete = settings["networks"] and settings["gateway"] and settings["token"]
        if not complete or self._lamp.wifi.held:
            return light.NO_SETTINGS
        if not self._lamp.wifi.up:
            return light.NO_WIFI
        return light.CONNECTED if self._session.welcomed else light.NO_GATEWAY

    def wants_token(self) -> bool:
        """Tell whether the lamp takes a token from anybody: it has none, or the gateway has refused the one it has."""
        return not self._lamp.settings["token"] or self.refused in _USELESS

    async def run(self, beat) -> None:
        """Stay connected for ever."""
        clock = self._lamp.clock
        self._beat = beat
        self._task = asyncio.current_task()
        while True:
            beat()
            if self.place() < light.NO_GATEWAY:
                self._backoff.reset()
                await asyncio.sleep_ms(_STEP_MS)
                continue
            code, retry_after_ms = await self._attempt()
            # What a connection that failed leaves behind, TLS above all, is large.
            gc.collect()
            self.refused = code if code in backoff.REFUSALS else None
            until_ms = clock() + self._backoff.next_ms(code, retry_after_ms)
            self.awake = False
            while clock() < until_ms and not self.awake and self.place() == light.NO_GATEWAY:
                beat()
                await asyncio.sleep_ms(_STEP_MS)

    async def talk(self, beat) -> None:
        """Send what is due, notice silence, and keep the light informed, for ever."""
        session, situation, clock = self._session, self._lamp.situation, self._lamp.clock
        keepalive_ms, readings_ms, sent = 0, 0, 0
        while True:
            beat()
            await asyncio.sleep_ms(_STEP_MS)
            situation.link = self.place()
            if not self._ws:
                continue
            self._beat()
            now_ms = clock()
            silent_ms = max(_SILENT_LEAST_MS, _SILENT_PERIODS * situation.period_ms)
            if now_ms - session.heard_ms >= silent_ms:
                self._drop(f"the gateway said nothing for {silent_ms // 1000} s")
            if not session.welcomed or self._dropped:
                continue
            if now_ms >= keepalive_ms or keepalive_ms > now_ms + session.keepalive_ms:
                keepalive_ms = now_ms + session.keepalive_ms
                full = sent % _FULL_EVERY == 0
                sent += 1
                await self.say(session.keepalive() if full else speech.KEEPALIVE)
                # Numbers that come together cost the gateway half.
                if full and now_ms >= readings_ms:
                    readings_ms = now_ms + _READINGS_MS
                    text = session.readings()
                    if text:
                        await self.say(text)

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
            why, retry_after_ms = exc.args if len(exc.args) > 1 else (exc.args[0], None)
        except ClosedError as exc:
            code, reason = exc.args
            why, retry_after_ms = backoff.told(code, reason), backoff.retry_after_ms(reason)
        except FrameError as exc:
            why = f"the gateway is none: {exc.args[1]}"
            await self._goodbye(exc.args[0])
        except (OSError, EOFError):
            why = "the connection broke"
        finally:
            self._hang_up()
        if why != self.why:
            self.why = why
            log("link", why)
        return code, retry_after_ms

    async def _open(self) -> None:
        lamp = self._lamp
        dns = lamp.settings["dns"] or lamp.wifi.station.ifconfig()[3]
        ws = await borrow("dial").connect(lamp.settings["gateway"], dns, self._memory, self._sockets)
        await ws.send(self._session.hello())
        self._session.heard_ms = lamp.clock()
        self._ws = ws

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
                try:
                    await asyncio.wait_for_ms(self._ws.send(answer), _SEND_MS)
                except asyncio.TimeoutError:
                    raise LinkError("the gateway takes nothing") from None
            if self.leaving:
                await self._goodbye(_GOING_AWAY)
                self._lamp.restart(self.leaving)

    async def say(self, text: str) -> bool:
        """Send a message, from outside of ``run``; return whether there was a connection to send it on."""
        ws = self._ws
        if not ws:
            return False
        try:
            await asyncio.wait_for_ms(ws.send(text), _SEND_MS)
            return True
        except asyncio.TimeoutError:
            why = "the gateway takes nothing"
        except OSError:
            why = "the connection broke"
        # By now there may be another one, which is well.
        if ws is self._ws:
            self._drop(why)
        return False

    async def _goodbye(self, code: int) -> None:
        # From here on nobody else uses it, or gives it up.
        ws, self._ws = self._ws, None
        try:
            await asyncio.wait_for_ms(ws.close(code), _CLOSE_MS)
        except (OSError, EOFError, FrameError, asyncio.TimeoutError):
            # It is closed all the same.
            pass

    def _drop(self, why: str) -> None:
        if self._ws and not self._dropped:
            self._dropped = why
            self._task.cancel()

    def _hang_up(self) -> None:
        self._session.welcomed = False
        self._ws = None
        while self._sockets:
            self._sockets.pop(0).close()

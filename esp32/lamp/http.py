"""The lamp's own HTTP server: who may connect, how many at a time, and for how long.

One request a connection. What is asked is read by ``request`` and answered by ``routes``; both, and what they need,
are in memory only while somebody is connected. Nothing here waits: the light goes on whoever hangs on the line.
"""

import asyncio
import gc
import socket

from micropython import const

from lamp import borrow
from lamp.log import log
from lamp.supervisor import told

_PLACES = const(4)
_BACKLOG = const(4)
# For the whole exchange, and for the request alone while others wait.
_EXCHANGE_MS = const(5_000)
_PATIENCE_MS = const(1_000)
_LOOK_MS = const(20)
_AGAIN_MS = const(10_000)
# So long after its start a lamp without a network opens one of its own.
_ALONE_MS = const(12_000)

_LATE = b"HTTP/1.1 408 Refused\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
_TOO_LATE = b'{"error":"the request did not arrive in time"}'


class HttpError(Exception):
    """Raised for a request that is refused: with a status, a sentence without a full stop, and perhaps a header."""


class Place:
    """One connection.

    Attributes:
        since_ms: When it was made.
        asked: Whether the whole request has come.
    """

    def __init__(self, sock, now_ms: int) -> None:
        self.since_ms = now_ms
        self.asked = False
        self._socket = sock
        self._stream = asyncio.StreamReader(sock)
        self._task = None

    def start(self, server) -> None:
        """Begin to read."""
        self._task = asyncio.create_task(self._serve(server))

    def drop(self) -> None:
        """Hang up, whatever it is doing."""
        self._task.cancel()
        if not self.asked:
            try:
                self._socket.send(_LATE + _TOO_LATE)
            except OSError:
                # Nobody is there to be told.
                pass
        self.close()

    def close(self) -> None:
        """Close the connection; nothing runs any more."""
        self._socket.close()

    async def _serve(self, server) -> None:
        try:
            await server.lend("exchange").answer(server.lamp, self._stream, self)
        except (OSError, EOFError):
            # Gone in the middle; nobody waits for an answer.
            pass
        except Exception as exc:
            log("http", told(exc))
        finally:
            self._socket.close()
            server.leave(self)


class Server:
    """Answers those who ask the lamp itself.

    Args:
        lamp: Whose.

    Attributes:
        lamp: The same.
        portal: The lamp's own access point while it is open, or ``None``.
        leaving: Set to a reason to restart the lamp, once the present answers are sent.
    """

    def __init__(self, lamp) -> None:
        self.lamp = lamp
        self.portal = None
        self.leaving = ""
        self._socket = None
        self._places = []
        self._lent = {}
        self._again_ms = 0
        self._may_open = True

    async def run(self, beat) -> None:
        """Serve for ever."""
        clock, port = self.lamp.clock, self.lamp.settings["http_port"]
        while True:
            beat()
            await asyncio.sleep_ms(_LOOK_MS)
            now_ms = clock()
            try:
                if self._socket:
                    self._look(now_ms)
                elif port and now_ms >= self._again_ms:
                    self._listen(port, now_ms)
                self._set_up(now_ms)
            except (OSError, MemoryError) as exc:
                # The lamp can do without those who ask, but not without its light.
                log("http", told(exc))
                gc.collect()
            if self.leaving and not self._places:
                self.lamp.restart(self.leaving)

    def lend(self, name: str):
        """Return a module that is borrowed once for all who are connected, until the last one is gone."""
        if name not in self._lent:
            self._lent[name] = borrow(name)
        return self._lent[name]

    def leave(self, place) -> None:
        """Forget a connection that is closed."""
        if place in self._places:
            self._places.remove(place)
        if not self._places:
            self._lent.clear()

    def stop(self) -> None:
        """Close everything; nothing runs any more."""
        for place in self._places:
            place.close()
        if self._socket:
            self._socket.close()
        if self.portal:
            self.portal.close()

    def _listen(self, port: int, now_ms: int) -> None:
        sock = socket.socket()
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
            sock.listen(_BACKLOG)
            sock.setblocking(False)
            self._socket = sock
        except OSError as exc:
            sock.close()
            if not self._again_ms:
                log("http", f"port {port} cannot be used ({exc})")
            self._again_ms = now_ms + _AGAIN_MS

    def _look(self, now_ms: int) -> None:
        places = self._places
        for place in list(places):
            if now_ms - place.since_ms >= _EXCHANGE_MS:
                place.drop()
                self.leave(place)
        while not self.leaving:
            slow = None
            if len(places) >= _PLACES:
                # Whoever has not asked yet makes way for one who may.
                for place in places:
                    if not place.asked and now_ms - place.since_ms >= _PATIENCE_MS:
                        slow = place
                        break
                else:
                    return
            try:
                sock = self._socket.accept()[0]
            except OSError:
                # Nobody waits.
                return
            if slow:
                slow.drop()
                self.leave(slow)
            sock.setblocking(False)
            place = Place(sock, now_ms)
            places.append(place)
            place.start(self)

    def _set_up(self, now_ms: int) -> None:
        """Open the lamp's own access point, once, if it has never reached another; keep it going, and close it."""
        if self.portal:
            if not self.portal.look(now_ms):
                self.portal = None
                gc.collect()
        elif self._may_open:
            wifi = self.lamp.wifi
            if wifi.up:
                self._may_open = False
            elif self._socket and (not self.lamp.settings["networks"] or now_ms >= _ALONE_MS):
                self._may_open = False
                self.portal = borrow("portal").Portal(self.lamp, now_ms)

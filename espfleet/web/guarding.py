"""What is refused before the application sees it: requests that never end, are too long, or can be read in two ways."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable
from functools import partial
from http import HTTPStatus
from sys import intern
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from espfleet.domain.attempts import source_of
from espfleet.web.crowd import Crowd
from espfleet.web.settings import Limits

#: Bytes of a request before its body. What comes in one piece is parsed before it is measured: asyncio reads 256 KiB.
HEAD_BYTES = 16_384
#: What is awaited of a client that has asked and does not read the answer, beside the states of h11.
_READING = "reading"


class GuardedProtocol(H11Protocol):
    """HTTP with an end to every wait and to all places.

    Who does not finish a request within its time is cut, and so is who reads nothing of the answer.

    Args:
        crowd: Whoever is there.
        limits: How much is taken.
        given: What uvicorn gives.
    """

    def __init__(self, *, crowd: Crowd, limits: Limits, **given: Any) -> None:
        super().__init__(**given)
        self._crowd = crowd
        self._allowed_s: dict[object, float] = {
            h11.IDLE: limits.head_ms / 1_000,
            h11.SEND_BODY: limits.body_ms / 1_000,
            _READING: limits.blocked_ms / 1_000,
        }
        self._guard: asyncio.TimerHandle | None = None
        self._awaited: object = None
        self._unread = math.inf
        self._leave: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a new connection a place, and its time for a first request; or tell it that there is none."""
        super().connection_made(transport)
        source = intern(source_of(self.client[0] if self.client else ""))
        if self._crowd.come(source):
            self._leave = partial(self._crowd.go, source)
        elif answer := self._crowd.turn_away():
            self._leave = self._crowd.turned_away
            self.app = answer
        else:
            transport.abort()
            return
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a request that goes on with single ones wins no time by that."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Give the connection its time for a next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the guard, and leave the place to somebody else."""
        self._set_guard(None, 0.0)
        if self._leave is not None:
            self._leave()
            self._leave = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Give a client that reads slowly its time."""
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        """Note that it has read."""
        super().resume_writing()
        self._watch()

    def _watch(self) -> None:
        awaited: object = self.conn.their_state
        if awaited not in self._allowed_s:
            awaited = _READING if self.flow.write_paused or self._unread_at_the_end() else None
        if awaited is not self._awaited:
            self._set_guard(awaited, self._allowed_s.get(awaited, 0.0))

    def _unread_at_the_end(self) -> bool:
        return self.transport.is_closing() and bool(self.transport.get_write_buffer_size())

    def _set_guard(self, awaited: object, allowed_s: float) -> None:
        if self._guard is not None:
            self._guard.cancel()
        self._awaited = awaited
        self._unread = math.inf
        self._guard = self.loop.call_later(allowed_s, self._end) if awaited is not None else None

    def _end(self) -> None:
        """Cut the connection, unless the client is still reading what was answered."""
        unread = self.transport.get_write_buffer_size()
        if 0 < unread < self._unread:
            self._unread = unread
            self._guard = self.loop.call_later(self._allowed_s[_READING], self._end)
        else:
            self.transport.abort()


class Unambiguous:
    """Refuses requests whose head is too long, or whose end is told in two ways: a proxy may believe the other one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it and end its connection."""
        given = scope.get("headers", ())
        names = [name for name, _ in given]
        if scope["type"] == "http" and b"transfer-encoding" in names and b"content-length" in names:
            await _refuse(send, HTTPStatus.BAD_REQUEST)
        elif scope["type"] == "http" and _head_bytes(scope, given) > HEAD_BYTES:
            await _refuse(send, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        else:
            await self._app(scope, receive, send)


def _head_bytes(scope: Scope, given: Iterable[tuple[bytes, bytes]]) -> int:
    """Return about how long the head of a request is."""
    lines = sum(len(name) + len(value) + 4 for name, value in given)
    return len(scope["raw_path"]) + len(scope["query_string"]) + lines


async def _refuse(send: Send, status: HTTPStatus) -> None:
    headers: list[Any] = [(b"content-length", b"0"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": status.value, "headers": headers})
    await send({"type": "http.response.body", "body": b""})

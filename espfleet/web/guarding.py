"""What is refused before the application sees it: requests that never end, and those that can be read in two ways."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from espfleet.web.live import MOST_READERS

#: How long the head of a request may take, from the connection or the answer before it, and then its body.
HEAD_S = 10.0
BODY_S = 20.0
#: Connections at once; more are told to come back later.
MOST_CONNECTIONS = MOST_READERS + 500


class GuardedProtocol(H11Protocol):
    """HTTP with an end to every wait: who does not finish a request within its time is cut."""

    _guard: asyncio.TimerHandle | None = None
    _awaited: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give a new connection its time for a first request."""
        super().connection_made(transport)
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
        """Forget the guard."""
        self._set_guard(None, 0.0)
        super().connection_lost(exc)

    def _watch(self) -> None:
        state = self.conn.their_state
        allowed_s = {h11.IDLE: HEAD_S, h11.SEND_BODY: BODY_S}.get(state)
        if allowed_s is None:
            self._set_guard(None, 0.0)
        elif state is not self._awaited:
            self._set_guard(state, allowed_s)

    def _set_guard(self, awaited: object, allowed_s: float) -> None:
        if self._guard is not None:
            self._guard.cancel()
        self._awaited = awaited
        self._guard = self.loop.call_later(allowed_s, self.transport.abort) if awaited is not None else None


class Unambiguous:
    """Refuses requests whose end is told in two ways, for a proxy in front may believe the other one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it and end its connection."""
        names = [name for name, _ in scope.get("headers", ())]
        if scope["type"] == "http" and b"transfer-encoding" in names and b"content-length" in names:
            headers: list[Any] = [(b"content-length", b"0"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": 400, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        await self._app(scope, receive, send)

"""Turns: of the questions of one client, few are answered at once, so that many big ones hold up nobody else."""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp, Receive, Scope, Send

#: One process answers all, one after the other: more at once of one client would only be taken from the others.
AT_ONCE = 2


class Turns:
    """Lets further questions of a client wait until those before them are answered.

    What waits for devices, and what has no end, takes no turn: it costs next to nothing while it lasts.

    Args:
        app: What answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._open: dict[str, _Client] = {}

    def __len__(self) -> int:
        """Return of how many clients questions are open."""
        return len(self._open)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of the client that ``scope["state"]["client"]`` names."""
        if not _takes_a_turn(scope):
            await self._app(scope, receive, send)
            return
        name: str = scope["state"]["client"]
        client = self._open.setdefault(name, _Client())
        client.questions += 1
        try:
            async with client.turn:
                await self._app(scope, receive, send)
        finally:
            client.questions -= 1
            if not client.questions:
                del self._open[name]


class _Client:
    """Who has asked: how many questions are open, and whose turn it is."""

    __slots__ = ("questions", "turn")

    def __init__(self) -> None:
        self.questions = 0
        self.turn = asyncio.Semaphore(AT_ONCE)


def _takes_a_turn(scope: Scope) -> bool:
    path: str = scope["path"]
    return (
        scope["method"] == "GET"
        and path.startswith("/api/")
        and path != "/api/live"
        # It asks the device.
        and not path.endswith("/state")
    )

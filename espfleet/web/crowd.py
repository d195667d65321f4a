"""The crowd at the web's port: who finds a place, who is told when to come back, and who is not worth a word."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from espfleet.domain.attempts import source_of
from espfleet.domain.places import TOLD, Places, wait_s
from espfleet.web.problems import problem
from espfleet.web.settings import Limits


class Crowd:
    """All connections of a web server, by source.

    Whoever has a place keeps it: those who come too many are refused, not those who were there before.

    Attributes:
        refused: How many were told to come back later, or were cut.
    """

    def __init__(self, limits: Limits) -> None:
        self.refused = 0
        self._places = Places(limits.connections, limits.connections_per_source)
        self._told = 0

    def may_come(self, host: str) -> bool:
        """Tell whether a client with this address may take a place, or be told that there is none."""
        if self._told < TOLD or self._places.fit(source_of(host)):
            return True
        self.refused += 1
        return False

    def cut(self) -> None:
        """Count somebody whose TLS handshake was cut for those of others."""
        self.refused += 1

    def come(self, source: str) -> bool:
        """Give a place to somebody who comes, and tell whether there was one."""
        if not self._places.fit(source):
            return False
        self._places.take(source)
        return True

    def go(self, source: str) -> None:
        """Take back a place that was given."""
        self._places.free(source)

    def turn_away(self) -> ASGIApp | None:
        """Return what answers to somebody who has no place, or ``None`` if too many are being answered so."""
        self.refused += 1
        if self._told >= TOLD:
            return None
        self._told += 1
        return _no_place(wait_s(self.refused))

    def turned_away(self) -> None:
        """Note that somebody has gone who was answered so."""
        self._told -= 1


def _no_place(back_s: int) -> ASGIApp:
    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        response = problem(
            503,
            "no_place",
            f"as many connections are open as there may be, in all or from your address: come back in {back_s} s",
            title="Full",
        )
        response.headers["Retry-After"] = str(back_s)
        response.headers["Connection"] = "close"
        await response(scope, receive, send)

    return answer

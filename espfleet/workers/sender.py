"""Sending what the outbox holds: nothing is lost, nothing that was accepted is sent again, nothing blocks the rest."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from espfleet.domain.points import AHEAD_S, OLDEST_S, Point, series
from espfleet.errors import ExportError
from espfleet.store import points
from espfleet.store.client import Store
from espfleet.store.points import Packed

logger = logging.getLogger(__name__)

#: Takes series and blocks until they are accepted, or raises ``ExportError``.
Post = Callable[[Sequence[dict[str, Any]]], None]
#: Entries in one go: up to 4,000 points, well below what Datadog takes at once.
AT_ONCE = 8
#: After so many errors in a row (5xx), parts are sent to find out whether it is because of some of the points.
TRIES = 10
PARTS = 8
#: More are not looked for at once: then it is rather Datadog again.
MOST_SUSPECTS = 20
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
#: Nobody may try sooner with a key that is refused.
REFUSED_WAIT_S = 60.0
CLAIM_IDLE_MS = 60_000
_SPLIT = (400, 413)
_KEY = (401, 403)
Piece = tuple[str, int, Point]


class Sender:
    """Reads the outbox and sends it.

    Args:
        store: Where the outbox is.
        post: Where to send it.
        consumer: Name in the group; the same after a restart, so that what was under way is sent first.
        host: Name that Datadog shows.
        clock: Seconds since the epoch.

    Attributes:
        sent, buried, failures: Points accepted, points given up, attempts that failed.
        wait_s: How long to wait before the next step.
        trouble: Why the last attempt failed, or ``""``.
    """

    def __init__(
        self,
        store: Store,
        post: Post,
        *,
        consumer: str = "steward",
        host: str = "espfleet",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sent = self.buried = self.failures = 0
        self.wait_s = 0.0
        self.trouble = ""
        self._store = store
        self._post = post
        self._consumer = consumer
        self._host = host
        self._clock = clock
        self._trouble = 0
        #: By entry, the points that are accepted or given up: they must not be sent again with the others.
        self._done: dict[str, set[int]] = {}
        #: Points that are left out because everything with them was answered by an error, and nothing without them.
        self._suspects: dict[tuple[str, int], Piece] = {}
        self._owns_some = True

    async def step(self) -> int:
        """Send what there is, up to ``AT_ONCE`` entries; return how many entries are through.

        ``wait_s`` says how long to wait before the next step; 0 means that there may be more.
        """
        entries = await self._next()
        through = await self.send(entries)
        if not self._trouble:
            self.wait_s = 0.0 if through else FIRST_WAIT_S
        return through

    async def send(self, entries: Sequence[Packed]) -> int:
        """Send these entries and acknowledge those that are through; return how many."""
        # Until Redis has taken the acknowledgement, this sender still owns them.
        self._owns_some = bool(entries)
        try:
            await self._deliver(self._left(entries))
            self._trouble, self.trouble = 0, ""
        except ExportError as exc:
            self._note(exc)
        # One that was cut off the outbox has no points any more.
        through = [one.entry_id for one in entries if len(self._done.get(one.entry_id, ())) >= len(one.points)]
        # Those that are accepted stay remembered until Redis knows it too.
        await points.ack(self._store, through)
        for entry_id in through:
            self._done.pop(entry_id, None)
        return len(through)

    async def _next(self) -> list[Packed]:
        entries = await points.read_own(self._store, self._consumer, AT_ONCE) if self._owns_some else []
        self._owns_some = bool(entries)
        # Where some never get through, others are needed to find out whether it is because of them.
        if not self._left(entries) or (self._trouble + 1 >= TRIES and len(entries) < AT_ONCE):
            entries += await points.read(self._store, self._consumer, AT_ONCE)
        return entries or await points.claim(self._store, self._consumer, CLAIM_IDLE_MS, AT_ONCE)

    def _left(self, entries: Sequence[Packed]) -> list[Piece]:
        return [
            (one.entry_id, index, point)
            for one in entries
            for index, point in enumerate(one.points)
            if index not in self._done.setdefault(one.entry_id, set()) and (one.entry_id, index) not in self._suspects
        ]

    async def _deliver(self, pieces: list[Piece]) -> None:
        suspects, accepted = list(self._suspects.values()), self.sent
        old = {piece[:2] for piece in _untimely(pieces, self._clock())}
        if old:
            # It may be this machine's clock that was set; then the server's knows better.
            server_s = await self._store.time_ms() / 1_000
            old = {piece[:2] for piece in _untimely([one for one in pieces if one[:2] in old], server_s)}
        await self._bury([piece for piece in pieces if piece[:2] in old], "older than an hour, or from the future")
        fresh = [piece for piece in pieces if piece[:2] not in old]
        try:
            await self._send_halving(fresh)
        except ExportError as exc:
            self._suspects.clear()
            if exc.status < 500 or self._trouble + 1 < TRIES or not await self._find_suspects(fresh):
                raise
        else:
            if self.sent > accepted:
                await self._bury(suspects, f"answered by an error {TRIES} times, while others were accepted")

    async def _send_halving(self, pieces: list[Piece]) -> None:
        """Send points; what is refused is halved until the points that nobody takes stand alone."""
        waiting = [pieces]
        while waiting:
            some = waiting.pop()
            try:
                await self._send(some)
            except ExportError as exc:
                if exc.status not in _SPLIT:
                    raise
                if len(some) == 1:
                    await self._bury(some, f"HTTP {exc.status}")
                else:
                    waiting += [some[len(some) // 2 :], some[: len(some) // 2]]

    async def _find_suspects(self, pieces: list[Piece]) -> bool:
        """Send parts of what never gets through; return whether some did, and suspect the points that did not.

        They are left out from now on, and given up if others are accepted later too.
        """
        parts = [pieces[start::PARTS] for start in range(min(PARTS, len(pieces)))]
        waiting = [part for part in parts if not await self._is_accepted(part)]
        if len(waiting) == len(parts):
            return False
        while waiting and len(self._suspects) < MOST_SUSPECTS:
            some = waiting.pop()
            halves = [some[len(some) // 2 :], some[: len(some) // 2]] if len(some) > 1 else []
            waiting += [half for half in halves if not await self._is_accepted(half)]
            if not halves:
                self._suspects[some[0][:2]] = some[0]
        return True

    async def _is_accepted(self, pieces: list[Piece]) -> bool:
        try:
            await self._send(pieces)
        except ExportError as exc:
            if exc.status < 500 and exc.status not in _SPLIT:
                raise
            return False
        return True

    async def _send(self, pieces: list[Piece]) -> None:
        if pieces:
            await asyncio.to_thread(self._post, series([point for _, _, point in pieces], self._host))
            self.sent += len(pieces)
            self._mark(pieces)

    async def _bury(self, pieces: list[Piece], why: str) -> None:
        if pieces:
            await points.bury(self._store, [point for _, _, point in pieces], why)
            self.buried += len(pieces)
            logger.warning("%d metrics are given up: %s", len(pieces), why)
            self._mark(pieces)

    def _mark(self, pieces: list[Piece]) -> None:
        for entry_id, index, _ in pieces:
            self._done.setdefault(entry_id, set()).add(index)
            self._suspects.pop((entry_id, index), None)

    def _note(self, exc: ExportError) -> None:
        self.failures += 1
        if not self._trouble:
            logger.warning("metrics wait: %s", exc)
        self._trouble, self.trouble = self._trouble + 1, str(exc)
        if exc.status in _KEY:
            self.wait_s = REFUSED_WAIT_S
        else:
            doubled_s = min(FIRST_WAIT_S * 2 ** (self._trouble - 1), LONGEST_WAIT_S)
            self.wait_s = exc.retry_after_s or doubled_s * random.uniform(0.5, 1.0)


def _untimely(pieces: list[Piece], now_s: float) -> list[Piece]:
    """Return the points whose time Datadog does not take."""
    return [piece for piece in pieces if not now_s - OLDEST_S < piece[2].at_s < now_s + AHEAD_S]

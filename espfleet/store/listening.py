"""Hears channels for ever, on one link for each server that has some of them, and follows them when they move."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Collection, Coroutine, Mapping

from espfleet.errors import StoreError
from espfleet.store.client import Store
from espfleet.store.link import ChannelsMovedError, Heard, linked, owners
from espfleet.store.urls import Server

logger = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0
#: While a server does not answer, it is asked this often whether another one has taken its place, in seconds.
_ASK_AGAIN_S = 1.0
#: Messages that wait for a slow reader; further ones wait in Redis.
MOST_WAITING = 100


class Listener:
    """Messages of channels.

    Links are opened and fail each for itself: while one server is away, what others tell is heard.

    Args:
        store: Where the fleet is kept.
        channels: What to listen to.
        beating: Those of them on which something is told every second. A link with one of them that is silent is made
            anew; on a Cluster, the server of one without is asked whether it lives and still has the channels.
        silence_s: How long a link may be silent, in seconds.
    """

    def __init__(self, store: Store, channels: Collection[str], beating: Collection[str], silence_s: float) -> None:
        self._store = store
        self._channels = frozenset(channels)
        self._beating = frozenset(beating)
        self._silence_s = silence_s
        self._keeper: asyncio.Task[None] | None = None
        self._wanted: Mapping[Server | None, frozenset[str]] = {}
        self._links: dict[Server | None, tuple[frozenset[str], asyncio.Task[None]]] = {}
        self._opening: set[Server | None] = set()
        #: Set when links may have to be opened.
        self._doubt = asyncio.Event()
        #: ``None`` stands for messages that may have been missed.
        self._waiting: deque[Heard | None] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._has_begun = self._has_missed = self._is_failing = self._is_away = False
        self._fault: BaseException | None = None

    async def next(self) -> Heard | None:
        """Return the next message; ``None`` first, and whenever some may have been missed."""
        if self._keeper is None:
            self._keeper = self._start(self._keep())
        while not self._waiting:
            if self._fault is not None:
                raise self._fault
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Close all links."""
        if self._keeper is not None:
            await _end([self._keeper, *(task for _, task in self._links.values())])

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        task.add_done_callback(self._note_fault)
        return task

    def _note_fault(self, task: asyncio.Task[None]) -> None:
        """Hand what nobody expected to the reader."""
        if not task.cancelled() and task.exception() is not None:
            self._fault = task.exception()
            self._news.set()

    # --- which links there are

    async def _keep(self) -> None:
        """Open a link to each server that has some of the channels, and again when it broke or they moved."""
        pause_s = _FIRST_PAUSE_S
        while True:
            self._doubt.clear()
            try:
                self._wanted = await owners(self._store, self._channels)
            except StoreError as exc:
                self._note_failure(exc)
                self._doubt.set()
            else:
                await self._arrange()
            try:
                async with asyncio.timeout(_ASK_AGAIN_S if self._opening else None):
                    await self._doubt.wait()
            except TimeoutError:
                continue
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
            pause_s = min(pause_s * 2, _LONGEST_PAUSE_S) if self._is_failing else _FIRST_PAUSE_S

    async def _arrange(self) -> None:
        left = {server for server, (channels, _) in self._links.items() if self._wanted.get(server) != channels}
        await _end([self._links.pop(server)[1] for server in left])
        for server in self._wanted.keys() - self._links.keys():
            self._opening.add(server)
            channels = self._wanted[server]
            self._links[server] = channels, self._start(self._follow(server, channels))

    async def _follow(self, server: Server | None, channels: frozenset[str]) -> None:
        """Take what comes on a link, until it breaks, is silent, or its channels move."""
        beats = server is None or not channels.isdisjoint(self._beating)
        try:
            async with linked(self._store, channels, server, self._silence_s) as link:
                self._note_opened(server)
                while (left_s := link.heard_s + self._silence_s - time.monotonic()) > 0 or not beats:
                    if left_s <= 0:
                        await link.check()
                    heard = await link.next(left_s if left_s > 0 else self._silence_s)
                    if heard is not None:
                        await self._take(heard)
                logger.debug("the feed was silent for %g s: it is made anew", self._silence_s)
        except StoreError as exc:
            self._note_failure(exc)
        finally:
            self._opening.discard(server)
            # Else the keeper has taken it away.
            if server in self._links and self._links[server][1] is asyncio.current_task():
                del self._links[server]
            self._tell_missed()
            self._doubt.set()

    # --- what is heard

    async def _take(self, heard: Heard) -> None:
        if not self._has_begun:
            # The reader reads everything when all links are open.
            return
        while len(self._waiting) >= MOST_WAITING:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(heard)
        self._news.set()

    def _note_opened(self, server: Server | None) -> None:
        self._opening.discard(server)
        self._has_missed = True
        if not self._opening and self._links.keys() == self._wanted.keys():
            self._is_failing = False
            if self._is_away:
                self._is_away = False
                logger.info("the feed is back")
        self._tell_missed()

    def _tell_missed(self) -> None:
        """Tell once for links that are opened together that something may have been missed."""
        if self._has_missed and not self._opening:
            self._has_missed = False
            self._has_begun = True
            if not self._waiting or self._waiting[-1] is not None:
                self._waiting.append(None)
                self._news.set()

    def _note_failure(self, exc: StoreError) -> None:
        self._is_failing = True
        # What moves is there, only elsewhere.
        if not self._is_away and not isinstance(exc, ChannelsMovedError):
            self._is_away = True
            logger.warning("the feed waits for Redis: %s", exc)


async def _end(tasks: Collection[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

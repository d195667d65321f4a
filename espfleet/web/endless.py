"""Answers without an end: they go on until the reader goes, may not look any more, or their source ends."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from espfleet.domain.attempts import source_of
from espfleet.domain.places import Places
from espfleet.errors import RefusedError, StoreError
from espfleet.web.live import Live

logger = logging.getLogger(__name__)

#: While Redis is away, so often it is tried to look whether a reader's token has ended.
RETRY_S = 0.3
#: Beyond the last part, the end of an answer is worth no longer wait.
END_S = 0.5


class Audience:
    """Those who follow something of which only so many can follow it at once: from one source half of them.

    Args:
        most: So many, in all.
    """

    def __init__(self, most: int) -> None:
        self._places = Places(most, -(-most // 2))

    @contextmanager
    def joined(self, host: str) -> Iterator[None]:
        """Be one of them.

        Args:
            host: Address of who wants to follow.

        Raises:
            RefusedError: If there are as many as there may be, in all or from there.
        """
        source = source_of(host)
        if not self._places.fit(source):
            raise RefusedError("too many are looking already, in all or from your address")
        self._places.take(source)
        try:
            yield
        finally:
            self._places.free(source)


class EndlessResponse(Response, ABC):
    """An answer that goes on until the reader goes, or may not look any more; ``send_all`` says what it is made of.

    Args:
        audience: Those who get such answers; one too many is refused.
        headers: What is told of it.
        live: Knows when something was changed in the fleet: tokens may have ended.
        check: Raises ``RefusedError`` if the reader may not look any more.
        blocked_ms: A reader that takes nothing for so long is cut.
    """

    def __init__(
        self,
        audience: Audience,
        headers: dict[str, str],
        live: Live,
        check: Callable[[], Awaitable[object]],
        blocked_ms: int,
    ) -> None:
        super().__init__(headers=headers)
        self._audience = audience
        self.blocked_s = blocked_ms / 1_000
        self._live = live
        self._check = check
        # Looked at once more at the beginning: the token may have ended since it was found good.
        self._seen = -1
        self._looked = asyncio.Event()
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request.

        Raises:
            RefusedError: If too many follow already; nothing is answered then.
        """
        client = scope.get("client")
        with self._audience.joined(client[0] if client else ""):
            await self._answer(receive, send)

    async def _answer(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self.send_all(send), name="endless answer")
        gone = asyncio.create_task(_until_gone(receive), name="reader gone")
        refused = asyncio.create_task(self._until_refused(), name="reader refused")
        try:
            await asyncio.wait({sending, gone, refused}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone, refused):
                task.cancel()
            await asyncio.gather(sending, gone, refused, return_exceptions=True)
        for task in (sending, refused):
            if not task.cancelled() and (exc := task.exception()) is not None:
                raise exc
        if not refused.cancelled():
            await _send_end_soon(send)

    @abstractmethod
    async def send_all(self, send: Send) -> None:
        """Send the body, part by part."""

    async def _until_refused(self) -> None:
        """Wait until the reader may not look any more."""
        while True:
            changes = await self._live.changed_after(self._seen)
            try:
                await self._check()
            except RefusedError:
                logger.info("who reads %s is sent away: the token has ended", self.media_type)
                return
            except StoreError:
                await asyncio.sleep(RETRY_S)
            else:
                self._seen = changes
                self._looked.set()
                self._looked = asyncio.Event()

    async def send_part(self, send: Send, part: bytes) -> None:
        """Send a part, not before it is known that the reader may still look.

        Raises:
            TimeoutError: If the reader takes nothing.
        """
        while self._seen != self._live.registry:
            await self._looked.wait()
        async with asyncio.timeout(self.blocked_s):
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def send_end(send: Send) -> None:
    """End the body."""
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_end_soon(send: Send) -> None:
    """End the body, unless the reader does not take even that: then the connection is cut."""
    try:
        async with asyncio.timeout(END_S):
            await send_end(send)
    except TimeoutError:
        logger.debug("the reader took nothing any more")


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

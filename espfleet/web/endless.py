"""Answers without an end: they go on until the reader goes, or their source ends."""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Receive, Scope, Send


class EndlessResponse(Response):
    """An answer that goes on until the reader goes; ``send_all`` says what it is made of.

    Args:
        headers: What is told of it.
        blocked_ms: A reader that takes nothing for so long is cut.
    """

    def __init__(self, headers: dict[str, str], blocked_ms: int) -> None:
        super().__init__(headers=headers)
        self.blocked_s = blocked_ms / 1_000
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self.send_all(send), name="endless answer")
        gone = asyncio.create_task(_until_gone(receive), name="reader gone")
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def send_all(self, send: Send) -> None:
        """Send the body, part by part."""
        raise NotImplementedError

    async def send_part(self, send: Send, part: bytes) -> None:
        """Send a part.

        Raises:
            TimeoutError: If the reader takes nothing.
        """
        async with asyncio.timeout(self.blocked_s):
            await send({"type": "http.response.body", "body": part, "more_body": True})


async def send_end(send: Send) -> None:
    """End the body."""
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass

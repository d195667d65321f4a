"""Connections to a web server that stay, from any address of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.web.serving import Web

GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
OTHER = "127.0.0.2"


class Link:
    """A connection that stays."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, what: bytes = GET) -> tuple[int, str, bytes]:
        """Return status, head and body of the answer to a request; status 0 if it is cut."""
        try:
            async with asyncio.timeout(60):
                self._writer.write(what)
                head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
                length = re.search(r"content-length: (\d+)", head, re.IGNORECASE)
                body = await self._reader.readexactly(int(length[1])) if length else b""
        except (ConnectionError, asyncio.IncompleteReadError):
            return 0, "", b""
        return int(head.split()[1]), head, body

    async def ends(self) -> None:
        """Wait until the server closes it."""
        async with asyncio.timeout(60):
            with contextlib.suppress(ConnectionError):
                await self._reader.read()

    def close(self) -> None:
        self._writer.transport.abort()


@asynccontextmanager
async def link(web: Web, source: str = "127.0.0.1") -> AsyncIterator[Link]:
    """Connect, from one of the addresses of this machine."""
    one = Link(*await asyncio.open_connection("127.0.0.1", web.port, local_addr=(source, 0)))
    try:
        yield one
    finally:
        one.close()

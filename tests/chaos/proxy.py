"""A TCP proxy that can cut, hold, slow and corrupt what passes: a bad network on one machine."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Sequence
from pathlib import Path
from random import Random

#: Where a proxy leads: a port of loopback, or a unix socket.
Backend = int | Path


#: When Linux sends a lost piece again, and again; five losses in a row are so rare at 20 % that they are left out.
SENT_AGAIN_S = (0.02, 0.2, 0.4, 0.8)


class FaultProxy:
    """Passes connections on to its backends in turn, to the next one where one is down.

    Attributes:
        port: Where it listens on loopback.
        connections: How many are open.
    """

    def __init__(self, backends: Sequence[Backend], random: Random) -> None:
        self.port = 0
        self._turns = itertools.cycle(range(len(backends)))
        self._backends = list(backends)
        self._random = random
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._is_cut = False
        self._delay_s = 0.0
        self._corrupted = 0.0
        self._lost = 0.0
        self._passes = asyncio.Event()
        self._passes.set()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    async def start(self) -> None:
        """Listen on any free port of loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        await self._abort()

    @property
    def is_well(self) -> bool:
        """Whether everything passes as it is and at once."""
        return self._passes.is_set() and not (self._is_cut or self._delay_s or self._corrupted or self._lost)

    async def cut(self) -> None:
        """Break every connection, and refuse new ones."""
        self._is_cut = True
        await self._abort()

    def hold(self) -> None:
        """Pass nothing on, neither bytes nor ends: nobody is told that the link is gone."""
        self._passes.clear()

    def slow(self, delay_s: float) -> None:
        """Let each piece wait before it is passed on."""
        self._delay_s = delay_s

    def lose(self, share: float) -> None:
        """Let each piece come as late as TCP brings it when this share of packets is lost."""
        self._lost = share

    def corrupt(self, share: float) -> None:
        """Change a byte in this share of the pieces that clients send."""
        self._corrupted = share

    def heal(self) -> None:
        """End every fault."""
        self._is_cut, self._delay_s, self._corrupted, self._lost = False, 0.0, 0.0, 0.0
        self._passes.set()

    async def _abort(self) -> None:
        tasks = list(self._open)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            # A cancelled task of a connection would be reported as an error of the server.
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await self._passes.wait()
                if not self._is_cut:
                    await self._join(reader, writer)
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await self._dial()
        if there is None:
            return
        their_reader, their_writer = there
        directions = [
            asyncio.create_task(self._pump(reader, their_writer, is_client=True)),
            asyncio.create_task(self._pump(their_reader, writer, is_client=False)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
            await self._passes.wait()
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)
            their_writer.transport.abort()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._backends:
            backend = self._backends[next(self._turns)]
            try:
                if isinstance(backend, Path):
                    return await asyncio.open_unix_connection(backend)
                return await asyncio.open_connection("127.0.0.1", backend)
            except OSError:
                continue
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_client: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65_536):
                if self._delay_s:
                    await asyncio.sleep(self._delay_s)
                for again_s in SENT_AGAIN_S:
                    if self._random.random() >= self._lost:
                        break
                    await asyncio.sleep(again_s)
                await self._passes.wait()
                if is_client and self._random.random() < self._corrupted:
                    at = self._random.randrange(len(data))
                    data = data[:at] + bytes([data[at] ^ (1 << self._random.randrange(8))]) + data[at + 1 :]
                writer.write(data)
                await writer.drain()

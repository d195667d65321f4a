"""A gateway of a few lines, so that lamps have somebody to talk to."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from espfleet.domain import replies
from espfleet.domain.messages import Hello, Keepalive, LampEvent, Message, Readings, Result, parse
from espfleet.domain.states import GroupLevel, State
from espfleet.simulator.fleet import Simulator
from espfleet.simulator.specs import LampSpec
from tests.conftest import wait_until
from tests.gateway.conftest import fleet as fleet
from tests.gateway.conftest import start as start

Visit = Callable[[ServerConnection], Any]


class FakeGateway:
    """Welcomes every lamp with ``level`` and notes what it says."""

    def __init__(self) -> None:
        self.level = 20
        self.state = State.OK
        self.lease_ms = 60_000
        self.period_ms = 60_000
        self.keepalive_ms = 50
        self.close_with: tuple[int, str] | None = None
        self.paths: list[str] = []
        self.hellos: list[Hello] = []
        self.heard: list[Message] = []
        self.lamps: dict[str, ServerConnection] = {}
        self.closed: dict[str, int | None] = {}
        self._server: Server | None = None
        self._port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    async def open(self) -> None:
        self._server = await serve(self._visit, "127.0.0.1", self._port, compression=None, close_timeout=0.5)
        self._port = self._server.sockets[0].getsockname()[1]

    async def close(self, code: int = 1001, reason: str = "") -> None:
        assert self._server is not None
        self._server.close(code=code, reason=reason)
        await self._server.wait_closed()

    def known(self) -> GroupLevel:
        return GroupLevel(group="wan", level=self.level, state=self.state, at_ms=0, seq=42)

    async def tell(self, device_id: str, level: int, state: State = State.OK) -> None:
        self.level, self.state = level, state
        text = replies.level(self.known(), lease_ms=self.lease_ms, at_ms=0, mono_s=0)
        await self.lamps[device_id].send(text)

    async def command(self, device_id: str, action: str, **arguments: Any) -> Result:
        command_id = f"c-{len(self.results())}"
        await self.lamps[device_id].send(replies.command(command_id, action, arguments, 5_000))
        found = await wait_until(lambda: [result for result in self.results() if result.id == command_id])
        assert isinstance(found, list)
        answer: Result = found[0]
        return answer

    def results(self) -> list[Result]:
        return [message for message in self.heard if isinstance(message, Result)]

    def keepalives(self) -> list[Keepalive]:
        return [message for message in self.heard if isinstance(message, Keepalive)]

    def readings(self) -> list[Readings]:
        return [message for message in self.heard if isinstance(message, Readings)]

    def events(self) -> list[LampEvent]:
        return [message for message in self.heard if isinstance(message, LampEvent)]

    async def _visit(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.paths.append(connection.request.path)
        if self.close_with is not None:
            await connection.close(*self.close_with)
            return
        lamp = ""
        try:
            async for text in connection:
                assert isinstance(text, str)
                message = parse(text)
                assert message is not None
                if isinstance(message, Hello):
                    lamp = message.id
                    self.hellos.append(message)
                    self.lamps[lamp] = connection
                    await connection.send(self._welcome())
                else:
                    assert lamp
                    self.heard.append(message)
        except ConnectionClosed:
            pass
        finally:
            self.closed[lamp] = connection.close_code

    def _welcome(self) -> str:
        return replies.welcome(
            self.known(),
            name="porch",
            room="hall",
            group="wan",
            brightness=100,
            keepalive_ms=self.keepalive_ms,
            period_ms=self.period_ms,
            lease_ms=self.lease_ms,
            at_ms=round(time.time() * 1000),
            mono_s=time.monotonic(),
        )


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    fake = FakeGateway()
    await fake.open()
    yield fake
    await fake.close()


@asynccontextmanager
async def running(lamps: Sequence[LampSpec], url: str, **options: Any) -> AsyncIterator[Simulator]:
    """Run lamps; their waits are seeded, so that tests do not depend on luck."""
    simulator = Simulator(lamps, url, seed=1, **options)
    task = asyncio.create_task(simulator.run())
    started = asyncio.create_task(simulator.started.wait())
    try:
        await asyncio.wait({task, started}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        yield simulator
    finally:
        started.cancel()
        simulator.stop()
        with suppress(asyncio.CancelledError):
            await task


async def fetch(address: str, raw: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send bytes to an HTTP server and return status, headers (names in lower case) and body of the answer."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        with suppress(ConnectionError):
            writer.write(raw)
            await writer.drain()
        async with asyncio.timeout(30):
            head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    finally:
        writer.close()
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return int(first.split()[1]) if head else 0, headers, body


async def get(address: str, path: str) -> tuple[int, dict[str, str], bytes]:
    return await fetch(address, f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())


async def post(address: str, path: str, values: Any, **headers: str) -> tuple[int, dict[str, Any]]:
    body = values if isinstance(values, bytes) else json.dumps(values).encode()
    given = {"Content-Type": "application/json", **{name.replace("_", "-"): text for name, text in headers.items()}}
    lines = "".join(f"{name}: {text}\r\n" for name, text in given.items())
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
    status, _, answer = await fetch(address, head.encode() + body)
    return status, json.loads(answer)

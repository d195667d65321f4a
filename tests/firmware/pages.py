"""A client of a lamp's own HTTP server that can be as rude as a test wants."""

from __future__ import annotations

import asyncio
import contextlib
import json
from asyncio import StreamReader, StreamWriter
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.conftest import wait_until
from tests.firmware.boards import Board

PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    """What a lamp answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """Return the sentence of a refusal, which has nothing beside it."""
        assert list(self.json) == ["error"]
        sentence = self.json["error"]
        assert isinstance(sentence, str)
        assert 0 < len(sentence) <= 200
        assert sentence.isprintable()
        return sentence


class Pages:
    """The HTTP server of one board."""

    def __init__(self, board: Board, token: str = "") -> None:
        self.board = board
        self.token = token
        self.host = f"127.0.0.1:{board.port}"

    async def ready(self) -> Pages:
        """Wait until it listens."""

        async def listens() -> bool:
            try:
                await hang_up((await self.connect())[1])
            except ConnectionError:
                return False
            return True

        await wait_until(listens, PATIENCE_S)
        return self

    async def connect(self) -> tuple[StreamReader, StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.board.port)

    async def raw(self, data: bytes) -> Answer | None:
        """Send bytes as they are; return the answer, or ``None`` if there is none."""
        reader, writer = await self.connect()
        try:
            writer.write(data)
            async with asyncio.timeout(PATIENCE_S):
                await writer.drain()
                return await answer(reader)
        except ConnectionError:
            return None
        finally:
            await hang_up(writer)

    async def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Ask as a client of good manners does; in names of headers, ``_`` is ``-``."""
        sent = {"Host": self.host}
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            sent["Content-Length"] = str(len(body))
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value)]
        found = await self.raw("\r\n".join([*head, "", ""]).encode() + (body or b""))
        assert found is not None, "hung up without an answer"
        return found

    async def get(self, path: str, **headers: str) -> Answer:
        return await self.ask("GET", path, **headers)

    async def post(self, path: str, **fields: Any) -> Answer:
        """Post fields as JSON."""
        return await self.ask("POST", path, json.dumps(fields).encode(), Content_Type="application/json")

    async def form(self, path: str, **fields: Any) -> Answer:
        """Post fields as a form."""
        kind = "application/x-www-form-urlencoded; charset=utf-8"
        return await self.ask("POST", path, urlencode(fields).encode(), Content_Type=kind)

    async def done(self, path: str, **fields: Any) -> dict[str, Any]:
        """Post fields, and expect that it is done."""
        found = await self.post(path, **fields)
        assert found.status == 200, found.body
        assert found.json["id"] == "3c71bff93720"
        return {name: value for name, value in found.json.items() if name != "id"}

    async def refused(self, path: str, **fields: Any) -> str:
        """Post fields, and expect that they are refused; return the sentence."""
        found = await self.post(path, **fields)
        assert found.status == 400, found.body
        return found.error

    async def look(self) -> str:
        """Return the word for what the lamp shows."""
        return str((await self.get("/state")).json["look"])


async def hang_up(writer: StreamWriter) -> None:
    """Leave without a word."""
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


async def answer(reader: StreamReader) -> Answer | None:
    """Read an answer to its end, which must be where it says."""
    head, end, body = (await reader.read(-1)).partition(b"\r\n\r\n")
    if not end:
        assert not head
        return None
    first, *lines = head.decode("ascii").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert headers["connection"] == "close"
    if "content-length" in headers and body:
        assert len(body) == int(headers["content-length"])
    return Answer(int(first.split()[1]), headers, body)

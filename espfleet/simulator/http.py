"""A small, strict HTTP/1.1 server: one request a connection, everything capped in size and time."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

HEAD_BYTES = 8_192
BODY_BYTES = 4_096
#: For the whole exchange.
EXCHANGE_S = 3.0
CONNECTIONS = 16
#: What a refused client may still send before the connection is dropped, so that it can read why it was refused.
_LINGER_BYTES = 65_536
_LINGER_S = 0.5
_REQUEST_LINE = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([ -~\t]*?)[ \t]*")


class HttpError(Exception):
    """Raised for a request that is refused; the text is one sentence for the one who sent it."""

    def __init__(self, status: HTTPStatus, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked.

    Attributes:
        method: Such as ``GET``.
        path: Without the query.
        headers: By name in lower case.
        body: At most ``BODY_BYTES``.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What is answered."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_bytes(self, *, with_body: bool = True) -> bytes:
        """Return it as it goes over the wire."""
        headers = {
            "Content-Type": self.content_type,
            "Content-Length": str(len(self.body)),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "close",
            **self.headers,
        }
        lines = [f"HTTP/1.1 {self.status.value} {self.status.phrase}", *(f"{n}: {v}" for n, v in headers.items())]
        return "\r\n".join([*lines, "", ""]).encode() + (self.body if with_body else b"")


Handler = Callable[[Request], Response]
#: Turns of the loop until a connection that was accepted is handed over.
_HANDED_OVER_AFTER = 3


def json_response(values: Mapping[str, Any], status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return an answer of JSON."""
    return Response(body=json.dumps(values, separators=(",", ":")).encode(), status=status)


class HttpServer:
    """Answers each request by calling ``handle``, which is quick and does not wait for anything."""

    def __init__(self, handle: Handler) -> None:
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._closed = False
        self._exchanges: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen, and return the port; 0 takes any free one.

        Raises:
            OSError: If it is taken.
        """
        self._closed = False
        self._server = await asyncio.start_server(self._accept, host, port, limit=HEAD_BYTES, backlog=CONNECTIONS)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop what is under way."""
        self._closed = True
        if self._server is not None:
            # A server of asyncio that closes forgets whom it has accepted in this turn (Python 3.11).
            for listener in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listener.fileno())
            for _ in range(_HANDED_OVER_AFTER):
                await asyncio.sleep(0)
            self._server.close()
        for exchange in self._exchanges:
            exchange.cancel()
        await asyncio.gather(*self._exchanges, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._closed:
            writer.transport.abort()
            return
        # A task of our own rather than the stream's, so that close() can end it, perhaps before it has begun.
        exchange = asyncio.ensure_future(self._exchange(reader, writer))
        self._exchanges.add(exchange)
        exchange.add_done_callback(lambda ended: self._hang_up(ended, writer))

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Also ENOTCONN, which is no ConnectionError: the other side went while it was being answered.
        with suppress(OSError):
            async with asyncio.timeout(2 * EXCHANGE_S):
                await self._answer(reader, writer)

    def _hang_up(self, ended: asyncio.Task[None], writer: asyncio.StreamWriter) -> None:
        self._exchanges.discard(ended)
        if writer.transport.get_write_buffer_size():
            writer.transport.abort()
        else:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = ""
        try:
            if len(self._exchanges) > CONNECTIONS:
                raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections at once")
            async with asyncio.timeout(EXCHANGE_S):
                request = await read_request(reader)
            if request is None:
                return
            method = request.method
            response = self._handle(request)
        except TimeoutError:
            refused = HttpError(HTTPStatus.REQUEST_TIMEOUT, f"the request did not arrive within {EXCHANGE_S:g} s")
            response = _refusal(refused)
        except HttpError as exc:
            response = _refusal(exc)
        writer.write(response.to_bytes(with_body=method != "HEAD"))
        await writer.drain()
        if response.status >= HTTPStatus.BAD_REQUEST:
            await _linger(reader, writer)


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Return the request, or ``None`` if the client went away without one.

    Raises:
        HttpError: If it is not a request that this server takes.
    """
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        raise HttpError(
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the head of a request may have {HEAD_BYTES} bytes"
        ) from None
    except asyncio.IncompleteReadError as exc:
        if not exc.partial:
            return None
        raise HttpError(HTTPStatus.BAD_REQUEST, "the request ends in its head") from None
    try:
        first, *lines = head.decode("ascii").removesuffix("\r\n\r\n").split("\r\n")
    except UnicodeDecodeError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the head of the request is not ASCII") from None
    asked = _REQUEST_LINE.fullmatch(first)
    if asked is None:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the first line is not a request of HTTP/1.0 or HTTP/1.1")
    headers = _headers(lines)
    return Request(
        method=asked[1],
        path=asked[2].partition("?")[0],
        headers=headers,
        body=await _body(reader, headers),
    )


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise HttpError(HTTPStatus.BAD_REQUEST, "a header is not NAME: VALUE")
        name = found[1].lower()
        if name in headers and name in ("host", "content-length", "content-type", "origin"):
            raise HttpError(HTTPStatus.BAD_REQUEST, f"the header {name} stands twice")
        headers[name] = found[2]
    if not _names_this_machine(headers.get("host", "")):
        # A page from elsewhere whose name was made to lead here would otherwise be let in.
        raise HttpError(HTTPStatus.BAD_REQUEST, "the header host must hold an IP address or localhost")
    return headers


def _names_this_machine(host: str) -> bool:
    name = re.sub(r":\d{1,5}$", "", host).removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost"
    return True


async def _body(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if "transfer-encoding" in headers:
        raise HttpError(HTTPStatus.LENGTH_REQUIRED, "a body must come with its content-length")
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()):
        raise HttpError(HTTPStatus.BAD_REQUEST, "content-length is not a number")
    if len(length) > 9 or int(length) > BODY_BYTES:
        raise HttpError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {BODY_BYTES} bytes")
    try:
        return await reader.readexactly(int(length))
    except asyncio.IncompleteReadError:
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body is shorter than its content-length") from None


def _refusal(exc: HttpError) -> Response:
    body = json.dumps({"error": str(exc)}, separators=(",", ":")).encode()
    return Response(body=body, status=exc.status, headers=exc.headers)


async def _linger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    if writer.can_write_eof():
        writer.write_eof()
    left = _LINGER_BYTES
    with suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_S):
            while left > 0 and (data := await reader.read(4_096)):
                left -= len(data)

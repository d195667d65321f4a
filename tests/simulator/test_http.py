from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import pytest

from espfleet.simulator import http
from espfleet.simulator.http import HttpServer, Request, Response, json_response
from tests.conftest import wait_until
from tests.simulator.conftest import fetch

HEAD = "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\n"


class Echo:
    def __init__(self) -> None:
        self.requests: list[Request] = []

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return json_response({"method": request.method, "path": request.path, "body": request.body.decode()})


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
async def address(echo: Echo) -> AsyncIterator[str]:
    server = HttpServer(echo)
    port = await server.start("127.0.0.1", 0)
    yield f"127.0.0.1:{port}"
    await server.close()


async def test_a_server_that_closes_hangs_up_on_whoever_has_just_come(echo: Echo) -> None:
    for turns in range(4):
        server = HttpServer(echo)
        port = await server.start("127.0.0.1", 0)
        links = [socket.create_connection(("127.0.0.1", port)) for _ in range(5)]
        # In the kernel, accepted, begun: wherever they are.
        for _ in range(turns):
            await asyncio.sleep(0)
        await server.close()
        for link in links:
            link.settimeout(60)
            with link, suppress(ConnectionResetError):
                assert await asyncio.to_thread(link.recv, 1) == b""


async def test_a_request_reaches_the_handler_and_its_answer_comes_back(address: str) -> None:
    status, headers, body = await fetch(address, f"{HEAD}Content-Length: 5\r\n\r\nhello".encode())
    assert status == 200
    assert json.loads(body) == {"method": "POST", "path": "/", "body": "hello"}
    assert headers["connection"] == "close"
    assert headers["content-length"] == str(len(body))


async def test_a_query_is_no_part_of_the_path(address: str, echo: Echo) -> None:
    await fetch(address, b"GET /ui?dark=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert echo.requests[0].path == "/ui"


async def test_head_gets_no_body(address: str) -> None:
    status, headers, body = await fetch(address, b"HEAD / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n")
    assert (status, body) == (200, b"")
    assert int(headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("raw", "status", "sentence"),
    [
        (b"hello\r\n\r\n", 400, "first line is not a request"),
        (b"GET / HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\n", 400, "first line is not a request"),
        (b"get / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "first line is not a request"),
        (b"GET http://x/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "first line is not a request"),
        (b"GET  / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "first line is not a request"),
        (b"GET /\x00 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "first line is not a request"),
        (b"GET /\xff HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "not ASCII"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "not ASCII"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "header host"),
        (b"GET / HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 400, "header host"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: 127.0.0.1\r\n\r\n", 400, "stands twice"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nno colon\r\n\r\n", 400, "NAME: VALUE"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n folded: x\r\n\r\n", 400, "NAME: VALUE"),
        (b"GET / HTTP/1.1\r\nHost: 127.0.0.1\nX: y\r\n\r\n", 400, "NAME: VALUE"),
        (f"{HEAD}Content-Length: -1\r\n\r\n".encode(), 400, "not a number"),
        (f"{HEAD}Content-Length: 5000\r\n\r\n".encode() + b"x" * 5_000, 413, "4096 bytes"),
        (f"{HEAD}Content-Length: {'9' * 5_000}\r\n\r\n".encode(), 413, "4096 bytes"),
        (f"{HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".encode(), 411, "content-length"),
        (f"{HEAD}X: {'y' * 9_000}\r\n\r\n".encode(), 431, "8192 bytes"),
        (b"x" * 60_000, 431, "8192 bytes"),
    ],
)
async def test_a_bad_request_gets_one_sentence(
    address: str, echo: Echo, raw: bytes, status: int, sentence: str
) -> None:
    answered, _, body = await fetch(address, raw)
    assert answered == status
    assert sentence in json.loads(body)["error"]
    assert echo.requests == []


async def test_a_client_that_stops_in_mid_request_is_told_so(
    address: str, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "EXCHANGE_S", 0.2)
    for raw in (b"GET / HT", f"{HEAD}Content-Length: 5\r\n\r\nhel".encode()):
        status, _, body = await fetch(address, raw)
        assert status == 408
        assert "did not arrive within 0.2 s" in json.loads(body)["error"]
    assert echo.requests == []


@pytest.mark.parametrize("raw", [b"", b"GET / HT", f"{HEAD}Content-Length: 5\r\n\r\nhel".encode()])
async def test_a_client_that_hangs_up_disturbs_nobody(address: str, echo: Echo, raw: bytes) -> None:
    host, _, port = address.rpartition(":")
    for _ in range(3):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(raw)
        writer.transport.abort()
    await fetch(address, b"GET /after HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    assert [request.path for request in echo.requests] == ["/after"]


async def test_too_many_connections_at_once_are_refused_and_the_rest_served(
    address: str, echo: Echo, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, _, port = address.rpartition(":")
    with ExitStack() as stack:
        for _ in range(http.CONNECTIONS):
            _, writer = await asyncio.open_connection(host, int(port))
            stack.callback(writer.close)
            writer.write(b"GET /")

        async def refused() -> bool:
            status, _, _ = await fetch(address, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            return status == 503

        await wait_until(refused)

    async def served() -> bool:
        status, _, _ = await fetch(address, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        return status == 200

    await wait_until(served)


async def test_closing_drops_what_is_under_way(echo: Echo) -> None:
    server = HttpServer(echo)
    port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /")
    await writer.drain()
    async with asyncio.timeout(2):
        await server.close()
        with suppress(ConnectionError):
            assert await reader.read() == b""
    writer.close()

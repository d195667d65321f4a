"""The web where TLS is on, and what it says to those who speak plain HTTP to it."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from espfleet.certificates.contexts import ServerSide
from espfleet.certificates.folder import Folder
from espfleet.services import tokens
from espfleet.store.client import Store
from espfleet.tls_door import TLS_BUFFER_BYTES
from espfleet.web.listening import https_instead
from espfleet.web.settings import Limits
from tests.conftest import wait_until
from tests.web.serving import Web, serving

OTHER = "127.0.0.2"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path, lambda: datetime.datetime.now(datetime.UTC))
    made.make(["127.0.0.1"])
    return made


@asynccontextmanager
async def https(store: Store, folder: Folder, **more: Any) -> AsyncIterator[Web]:
    """Serve with a certificate."""
    async with serving(store, ca=folder.bundle, tls=ServerSide(folder.server).context, **more) as web:
        yield web


@asynccontextmanager
async def plain(web: Web, source: str = "127.0.0.1") -> AsyncIterator[Streams]:
    """Open a TCP connection and say nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port, local_addr=(source, 0))
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def answer_to(web: Web, said: bytes) -> str:
    """Return all that is answered until the server closes."""
    async with plain(web) as (reader, writer), asyncio.timeout(60):
        writer.write(said)
        return (await reader.read()).decode()


async def test_plain_http_is_told_to_open_https_and_is_not_sent_there(store: Store, folder: Folder) -> None:
    async with https(store, folder) as web:
        here = f"127.0.0.1:{web.port}"
        for request in (
            f"GET / HTTP/1.1\r\nHost: {here}\r\n\r\n",
            f"POST /api/rooms HTTP/1.1\r\nHost: {here}\r\nAuthorization: Bearer secret-of-mine\r\n"
            "Content-Length: 17\r\n\r\n" + '{"name": "hall"}\n',
        ):
            head, _, body = (await answer_to(web, request.encode())).partition("\r\n\r\n")
            assert head.startswith("HTTP/1.1 426 ")
            # A client that is sent elsewhere by itself would show its token in plain text again and again.
            assert "location" not in head.lower()
            assert "no-store" in head
            assert body == f"this port speaks https: open https://{here}/\n"
            assert "secret" not in body
        assert (await web.get("/api/rooms"))["items"] == []


@pytest.mark.parametrize("said", [b"\x00", b"hello\r\n", b"GET / HTTP/1.1\r\n", b"SSH-2.0-x\r\n"])
async def test_whoever_speaks_something_else_is_told_too(store: Store, folder: Folder, said: bytes) -> None:
    async with https(store, folder) as web:
        answer = await answer_to(web, said)
        assert answer.startswith("HTTP/1.1 426 ")
        assert answer.endswith("this port speaks https: use https:// instead of http://\n")


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("fleet.example", "https://fleet.example:8443/"),
        ("Fleet.Example:9000", "https://Fleet.Example:9000/"),
        ("[2001:db8::1]:9000", "https://[2001:db8::1]:9000/"),
        ("[2001:db8::1]", "https://[2001:db8::1]:8443/"),
    ],
)
def test_the_url_that_is_told_is_the_one_the_client_knows(host: str, told: str) -> None:
    assert https_instead(f"GET / HTTP/1.1\r\nhost: {host} \r\n\r\n".encode(), 8443).endswith(f" open {told}")


@pytest.mark.parametrize(
    "host", ["", "<script>", "a/b", "a@b", "a b", "a\x1b[2J", "-a", "x" * 300, "a:99999999", "\u00e4", "[::1", "evil\r"]
)
def test_nothing_but_a_name_or_an_address_is_told_back(host: str) -> None:
    assert "instead of http" in https_instead(f"GET / HTTP/1.1\r\nHost: {host}\r\nX: y\r\n\r\n".encode(), 8443)


async def test_who_says_nothing_or_stops_in_the_handshake_does_not_stay(store: Store, folder: Folder) -> None:
    async with https(store, folder, limits=Limits(handshake_ms=1_000)) as web:
        for said in (b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n"):
            async with plain(web) as (reader, writer), asyncio.timeout(60):
                writer.write(said)
                with contextlib.suppress(ConnectionError):
                    await reader.read()


async def test_one_source_cannot_hold_all_handshakes(store: Store, folder: Folder) -> None:
    async with https(store, folder, limits=Limits(handshakes=4, handshake_ms=60_000)) as web, AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(plain(web, OTHER)) for _ in range(6)]
        ended = [asyncio.ensure_future(reader.read()) for reader, _ in silent]
        assert (await web.send("GET", "/healthz")).ok
        # The one that was there for the longest was cut, and the next of them has its place again.
        await wait_until(lambda: sum(one.done() for one in ended) == 1)
        for one in ended:
            one.cancel()
        await asyncio.gather(*ended, return_exceptions=True)


async def test_one_source_cannot_take_all_connections_over_tls_either(store: Store, folder: Folder) -> None:
    trust = ssl.create_default_context(cafile=str(folder.bundle))
    async with https(store, folder, limits=Limits(connections_per_source=2)) as web:
        links = [
            await asyncio.open_connection("127.0.0.1", web.port, ssl=trust, local_addr=(OTHER, 0)) for _ in range(3)
        ]
        try:
            statuses = []
            for reader, writer in links:
                writer.write(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                async with asyncio.timeout(60):
                    statuses.append((await reader.readuntil(b"\r\n")).split()[1])
            assert statuses == [b"200", b"200", b"503"]
            assert (await web.send("GET", "/healthz")).ok
        finally:
            for _, writer in links:
                writer.transport.abort()


async def test_more_than_a_buffer_comes_and_goes_over_tls(store: Store, folder: Folder) -> None:
    async with https(store, folder) as web:
        answer = await web.send("GET", "/api/openapi.json")
        assert len(answer.content) > 10 * TLS_BUFFER_BYTES
        refused = await web.send("POST", "/api/groups", json={"name": "x" * 10 * TLS_BUFFER_BYTES})
        assert refused.status_code == 422


async def test_the_cookie_of_a_login_never_goes_in_plain_text(store: Store, folder: Folder) -> None:
    token = await tokens.add(store, name="boss", role="admin", now_ms=1)
    async with https(store, folder) as web:
        cookie = (await web.send("POST", "/api/session", json={"token": token})).headers["set-cookie"]
        assert "; secure" in cookie.lower()

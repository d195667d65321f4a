"""Attacks over HTTP on the web and on the gateway: shapes of requests that two readers might understand differently."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import re

import pytest

from espfleet.gateway.server import Limits
from espfleet.services import tokens
from espfleet.store.client import Store
from espfleet.web.settings import Limits as WebLimits
from tests.gateway.conftest import Fleet, Gateway, Start, fleet, gateway, start
from tests.gateway.raw import TEXT, frame, raw, request
from tests.web.serving import Web, serving, web

__all__ = ["Fleet", "Gateway", "Start", "fleet", "gateway", "start", "web"]


async def ask(port: int, data: bytes, within_s: float = 8.0) -> str:
    """Send bytes and return everything that comes until the other side closes, or nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        got = b""
        while True:
            try:
                async with asyncio.timeout(within_s if not got else 0.4):
                    piece = await reader.read(65_536)
            except TimeoutError:
                break
            if not piece:
                break
            got += piece
        return got.decode(errors="replace")
    except (ConnectionResetError, BrokenPipeError):
        return ""
    finally:
        writer.transport.abort()


def statuses(answer: str) -> list[int]:
    """Return the status of each answer in what came."""
    return [int(found) for found in re.findall(r"^HTTP/1\.1 (\d{3})", answer, re.MULTILINE)]


GET = b"GET /api/devices HTTP/1.1\r\nHost: 127.0.0.1\r\n"
POST = b"POST /api/groups HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
SMUGGLED = b"GET /api/version-smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


TWICE = [
    ("length and chunks", POST + b"Content-Length: 6\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED),
    ("two lengths", POST + b"Content-Length: 2\r\nContent-Length: 60\r\n\r\n{}" + SMUGGLED),
    ("a list of lengths", POST + b"Content-Length: 2, 60\r\n\r\n{}" + SMUGGLED),
    ("a negative length", POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED),
    ("a length with a plus", POST + b"Content-Length: +2\r\n\r\n{}" + SMUGGLED),
    ("a length in hex", POST + b"Content-Length: 0x2\r\n\r\n{}" + SMUGGLED),
    ("chunks twice", POST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED),
    ("chunks under a cloak", POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED),
    ("chunks after identity", POST + b"Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n" + SMUGGLED),
    ("a bad size of a chunk", POST + CHUNKED + b"\r\n-1\r\n\r\n" + SMUGGLED),
    ("a space before the colon", POST + b"Content-Length : 2\r\n\r\n{}" + SMUGGLED),
    ("a bare carriage return", GET + b"X-A: b\rContent-Length: 60\r\n\r\n" + SMUGGLED),
    ("a zero byte", GET + b"X-A: b\0c\r\n\r\n" + SMUGGLED),
    ("no host", b"GET /api/devices HTTP/1.1\r\n\r\n" + SMUGGLED),
    ("two hosts", GET + b"Host: example.com\r\n\r\n" + SMUGGLED),
]


async def test_no_second_request_hides_in_the_first(web: Web) -> None:
    for what, data in TWICE:
        answer = await ask(web.port, data)
        found = statuses(answer)
        # Whatever is doubtful is refused, and the connection ends: what follows is never taken for a request.
        assert found in ([], [400]), (what, answer[:500])
        assert "smuggled" not in answer
        assert (await web.send("GET", "/healthz")).ok


TWICE_BEFORE_A_SOCKET = [
    ("length and chunks", request(Content_Length="6", Transfer_Encoding="chunked") + b"0\r\n\r\n" + SMUGGLED),
    ("two lengths", request(Content_Length="2").replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n") + SMUGGLED),
    ("a body", request(Upgrade=None, Content_Length="70") + SMUGGLED),
    ("a second request", request("/nowhere", Upgrade=None) + SMUGGLED),
    ("a folded header", request(X_A="b\r\n\tc") + SMUGGLED),
    ("a bare line feed", request().replace(b"\r\n", b"\n") + SMUGGLED),
    ("a zero byte", request(X_A="b\0c") + SMUGGLED),
]


async def test_no_second_request_hides_before_a_socket(gateway: Gateway) -> None:
    for what, data in TWICE_BEFORE_A_SOCKET:
        answer = await ask(gateway.port, data)
        found = statuses(answer)
        assert len(found) <= 1, (what, answer[:500])
        assert 101 not in found
        assert "smuggled" not in answer


HEADS = [
    ("a long path", b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("a long header", GET + b"X-A: " + b"x" * 200_000 + b"\r\n\r\n"),
    ("a header that comes at once", GET + b"X-A: " + b"x" * 17_000 + b"\r\n\r\n"),
    ("a path that comes at once", b"GET /healthz?" + b"x" * 17_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
    ("many headers", GET + b"".join(b"X-%d: x\r\n" % number for number in range(20_000)) + b"\r\n"),
    ("a header that never ends", GET + b"X-A: " + b"x" * 200_000),
]


async def test_a_bomb_of_headers_is_refused_before_it_is_read(web: Web) -> None:
    for what, head in HEADS:
        answer = await ask(web.port, head)
        assert all(400 <= status < 500 for status in statuses(answer)), (what, answer[:300])
        assert (await web.send("GET", "/healthz")).ok


TEXTS = [
    "[" * 100_000,
    '{"a":' * 50_000,
    '{"name": 1' + "0" * 10_000 + "}",
    '{"name": NaN}',
    '{"name": -Infinity}',
    '{"name": "\\ud800"}',
    '{"name": "a", "name": "b"}',
    '{"name": {"$gt": ""}}',
    "\ufeff{}",
    "null",
    '"' + "x" * 30_000 + '"',
]


async def test_a_bomb_of_json_is_an_ordinary_refusal(web: Web) -> None:
    for path, text in itertools.product(["/api/groups", "/api/targets", "/api/devices", "/api/session"], TEXTS):
        answer = await web.send(
            "POST", path, data=text.encode("utf-8", "surrogatepass"), headers={"Content-Type": "application/json"}
        )
        assert answer.status_code in (400, 401, 413, 422) or '"name": "b"' in text or "\ufeff" in text, answer.text[
            :300
        ]
        assert answer.status_code < 500
        assert len(answer.content) < 20_000


PATHS = [
    "/../espfleet/settings.py",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/static/../../app.py",
    "//etc/passwd",
    "/....//....//etc/passwd",
    "/%00",
    "/app.js%00.html",
    "/\\..\\..\\etc\\passwd",
    "/.env",
    "/.espfleet/lamps.json",
    "/file:///etc/passwd",
    "/%c0%ae%c0%ae/etc/passwd",
    "/app.js/..",
    "/..;/etc/passwd",
]


async def test_no_path_leads_out_of_the_files_of_the_dashboard(web: Web) -> None:
    for path in PATHS:
        data = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode()
        answer = await ask(web.port, data)
        head, _, body = answer.partition("\r\n\r\n")
        assert statuses(answer)[0] in (400, 404) or "<title>" in body, (path, head)
        assert "root:" not in body
        assert "token" not in body.lower() or "<title>" in body


CROSS_SITE = [
    ("POST", "/api/groups", {"Origin": "https://example.com"}),
    ("POST", "/api/groups", {"Origin": "null"}),
    ("POST", "/api/groups", {"Sec-Fetch-Site": "cross-site"}),
    ("POST", "/api/groups", {"Sec-Fetch-Site": "same-site"}),
    ("DELETE", "/api/groups/wan", {"Origin": "http://127.0.0.1.example.com"}),
    ("PATCH", "/api/groups/wan", {"Origin": "http://localhost:1"}),
    ("GET", "/api/devices", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}),
    ("GET", "/photo", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}),
    ("POST", "/api/groups", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    ("GET", "/api/devices", {"Host": "fleet.example.com"}),
    ("GET", "/api/devices", {"Host": "127.0.0.1.example.com"}),
    ("GET", "/api/live", {"Host": "example.com"}),
]


async def test_no_other_site_acts_in_the_name_of_who_looks_at_it(web: Web) -> None:
    for method, path, headers in CROSS_SITE:
        answer = await web.send(method, path, json={"name": "evil"}, headers=headers)
        assert answer.status_code in (401, 403), answer.text
        assert (await web.get("/api/groups"))["items"] == []


async def test_a_header_that_shows_no_token_does_not_make_another_site_this_one(store: Store) -> None:
    token = await tokens.add(store, name="boss", role="admin", now_ms=1)
    logged_in = {"Cookie": f"espfleet_token={token}"}
    sites = ({"Origin": "https://example.com"}, {"Sec-Fetch-Site": "cross-site"})
    async with serving(store) as web:
        for given, site in itertools.product(("Basic eDp5", "Bearer ", "bearer", "x"), sites):
            headers = {**logged_in, **site, "Authorization": given}
            assert (await web.send("POST", "/api/demo", headers=headers)).status_code == 401, headers
        assert (await web.get("/api/groups", headers=logged_in))["items"] == []


NO_NAMES = [
    "[",
    "]",
    "[::1",
    "[127.0.0.1]",
    "http://[",
    "a b",
    "@",
    "%00",
    "\\",
    "127.0.0.1@x",
    "127.0.0.1.",
    "x#@127.0.0.1",
]


@pytest.mark.parametrize("name", NO_NAMES)
async def test_what_is_no_name_of_a_server_is_refused_without_a_word_in_the_log(
    web: Web, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    for headers in (f"Host: {name}", f"Host: 127.0.0.1:{web.port}\r\nOrigin: {name}"):
        answer = await ask(web.port, f"DELETE /api/session HTTP/1.1\r\n{headers}\r\n\r\n".encode())
        assert statuses(answer)[0] in (400, 401), (headers, answer)
    assert [record for record in caplog.records if record.exc_info or record.levelno > logging.WARNING] == []


async def test_digits_of_other_scripts_are_no_ids(web: Web) -> None:
    await web.get("/api/events?since=\u0661", 422)
    assert (await web.send("DELETE", "/api/outbox/\u0661-\u0661")).status_code == 422


BY_PROXY = ["Forwarded: for=203.0.113.9", "X-Forwarded-For: 203.0.113.9", "X-Forwarded-Host: fleet.example.com",
            "X-Forwarded-Proto: https", "X-Real-IP: 203.0.113.9", "Via: 1.1 proxy"]  # fmt: skip


@pytest.mark.parametrize("proxies", ["", "127.0.0.1"])
async def test_who_comes_by_a_proxy_is_not_on_this_machine_and_no_admin_of_a_fresh_fleet(
    store: Store, proxies: str
) -> None:
    async with serving(store, proxies=proxies) as web:
        for header in BY_PROXY:
            name, _, value = header.partition(": ")
            answer = await web.send(
                "POST", "/api/tokens", json={"name": "evil", "role": "admin"}, headers={name: value}
            )
            assert answer.status_code == 401, header
            assert "proxy" in answer.json()["detail"]
        assert await web.get("/api/tokens") == []
        token = await tokens.add(store, name="boss", role="admin", now_ms=1)
        bearer = {"Authorization": f"Bearer {token}"}
        assert len(await web.get("/api/tokens", headers={**bearer, "X-Forwarded-For": "203.0.113.9"})) == 1


async def test_a_link_of_another_site_may_lead_here(web: Web) -> None:
    await web.get("/api/groups", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200), ("GET", "/video", 200), ("GET", "/api/devices", 200), ("GET", "/api/openapi.json", 200),
        ("GET", "/healthz", 200), ("GET", "/nothing", 404), ("GET", "/photo", 404), ("PUT", "/api/groups", 405),
        ("POST", "/api/groups", 422), ("POST", "/photo", 401), ("DELETE", "/api/session", 204),
    ],
)  # fmt: skip
async def test_no_answer_is_taken_for_a_page_of_somebody_elses(web: Web, method: str, path: str, status: int) -> None:
    answer = await web.send(method, path)
    assert answer.status_code == status
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in answer.headers


async def test_a_form_of_another_site_is_no_request_of_ours(web: Web) -> None:
    # What a page may send without being asked first: no JSON.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = await web.send("POST", "/api/groups", data='{"name": "evil"}', headers={"Content-Type": kind})
        assert answer.status_code in (400, 415, 422), (kind, answer.status_code)
    assert (await web.get("/api/groups"))["items"] == []


async def test_a_guessed_token_opens_nothing_and_guessing_tells_nothing(store: Store) -> None:
    real = await tokens.add(store, name="boss", role="admin", now_ms=1)
    guesses = ["", " ", "x", real[:-1], real + "x", real.swapcase(), real[::-1], "\u00e4" * 43, "0" * 10_000, "*"]
    async with serving(store) as web:
        told = set()
        for guess in guesses:
            headers = {"Authorization": f"Bearer {guess}".encode().decode("latin-1")}
            answer = await web.send("GET", "/api/devices", headers=headers)
            assert answer.status_code in (401, 429, 400), (guess[:20], answer.status_code)
            if answer.status_code == 401:
                told.add(answer.json()["detail"])
        assert len(told) <= 2
        assert all(real not in one for one in told)


async def test_whoever_does_not_finish_a_request_does_not_keep_a_place(store: Store) -> None:
    async with serving(store, limits=WebLimits(head_ms=2_000)) as web:
        links = [await asyncio.open_connection("127.0.0.1", web.port) for _ in range(60)]
        try:
            for _, writer in links:
                writer.write(b"GET /api/devices HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
                await writer.drain()
            assert (await web.send("GET", "/healthz")).ok
            async with asyncio.timeout(25):
                for reader, _ in links:
                    with contextlib.suppress(ConnectionResetError):
                        await reader.read()
        finally:
            for _, writer in links:
                writer.transport.abort()


async def test_a_body_that_drips_is_given_up(store: Store) -> None:
    async with serving(store, limits=WebLimits(body_ms=1_000)) as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        try:
            writer.write(POST + b"Content-Length: 100\r\n\r\n{")
            await writer.drain()
            async with asyncio.timeout(25):
                with contextlib.suppress(ConnectionResetError):
                    await reader.read()
        finally:
            writer.transport.abort()


async def test_handshakes_that_drip_do_not_hold_others_up(fleet: Fleet, start: Start) -> None:
    gateway = await start(limits=Limits(handshake_ms=1_500))
    dripping = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(100)]
    try:
        for _, writer in dripping:
            writer.write(b"GET /lamp HTTP/1.1\r\nHost: ")
        async with raw(gateway.port) as link:
            await link.upgrade()
        async with asyncio.timeout(60):
            for reader, _ in dripping:
                answer = await reader.read()
                assert not answer or answer.startswith(b"HTTP/1.1 408 ")
    finally:
        for _, writer in dripping:
            writer.transport.abort()


async def test_what_is_asked_for_cannot_forge_lines_of_the_log(
    web: Web, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    forged = "2026-01-01 gateway INFO all is well"
    with caplog.at_level(logging.DEBUG):
        await ask(
            web.port, f"GET /api/devices/x%0a{forged.replace(' ', '%20')} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
        )
        await ask(web.port, b"GET /\x1b[2J HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        async with raw(gateway.port) as link:
            await link.upgrade()
            hello = {"type": "hello", "protocol": 1, "id": f"x\n{forged}", "token": f"\x1b[2J\n{forged}"}
            await link.write(frame(TEXT, json.dumps(hello).encode()))
            await link.close_code()
    for record in caplog.records:
        text = record.getMessage()
        assert "\n" not in text or "Traceback" in text
        assert "\x1b" not in text

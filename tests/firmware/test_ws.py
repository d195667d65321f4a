"""The WebSocket client against servers of every temper, plain and over TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.firmware.boards import Firmware
from tests.firmware.certificates import Authority, authority, server_context
from tests.firmware.servers import BINARY, CLOSE, PING, PONG, TEXT, Handler, Peer, frame, serving

Talk = Callable[..., Awaitable[list[dict[str, Any]]]]


@pytest.fixture(params=["ws", "wss"])
def security(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def talk(firmware: Firmware, tmp_path: Path, ca: Authority, security: str) -> Talk:
    """Return a function that lets the client talk to a server and returns what it reports; no socket is left."""
    (tmp_path / "ca.der").write_bytes(ca.der)

    async def run(
        handler: Handler, *, times: int = 1, context: ssl.SSLContext | None = None, host: str = "127.0.0.1"
    ) -> list[dict[str, Any]]:
        if security == "wss":
            context = context or server_context(ca, tmp_path)
        async with serving(handler, context) as server:
            url = server.url.replace("127.0.0.1", host)
            out = await firmware.run("talk.py", url, times, folder=tmp_path)
        told = [json.loads(line) for line in out.splitlines()]
        assert told.pop()["left"] == 0, "a socket was left open"
        return told

    return run


async def spoken(peer: Peer, *frames: bytes) -> None:
    """Upgrade, take the client's hello, send frames and wait for the end."""
    await peer.upgrade()
    assert await peer.frame() == (TEXT, b"hello")
    await peer.send(b"".join(frames))


# What must work


async def test_a_message_comes_whole(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(TEXT, "Grüße".encode()), frame(BINARY, b"\x00\xff"), frame(TEXT))

    assert await talk(server) == [
        {"text": "Grüße", "size": 5},
        {"bytes": [0, 255], "size": 2},
        {"text": "", "size": 0},
        {"end": True},
    ]


async def test_what_comes_with_the_upgrade_is_not_lost(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await peer.upgrade(after=frame(TEXT, b"early") + frame(TEXT, b"bird"))
        await peer.frame()

    assert [one.get("text") for one in await talk(server)] == ["early", "bird", None]


async def test_a_ping_is_answered_and_never_handed_on(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(PING, b"abc"))
        assert await peer.frame() == (PONG, b"abc")
        await peer.send(frame(PONG, b"never asked") + frame(TEXT, b"done"))

    assert await talk(server) == [{"text": "done", "size": 4}, {"end": True}]


async def test_a_fragmented_message_comes_whole_with_a_ping_between_its_parts(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(
            peer, frame(TEXT, b"Hel", last=False), frame(PING, b"?"), frame(0, b"l", last=False), frame(0, b"o")
        )
        assert await peer.frame() == (PONG, b"?")

    assert await talk(server) == [{"text": "Hello", "size": 5}, {"end": True}]


async def test_frames_that_drip_in_byte_by_byte_come_whole(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer)
        for byte in frame(TEXT, b"drop" * 40):
            await peer.send(bytes([byte]))
            await asyncio.sleep(0.001)

    assert (await talk(server))[0] == {"text": "dropdropdropdropdrop", "size": 160}


@pytest.mark.parametrize("size", [125, 126, 4_096])
async def test_messages_of_all_lengths_come_and_go(talk: Talk, size: int) -> None:
    message = b"!" + b"x" * (size - 1)

    async def server(peer: Peer) -> None:
        await spoken(peer, frame(TEXT, message))
        assert await peer.frame() == (TEXT, message)

    assert (await talk(server))[0]["size"] == size


async def test_a_close_is_answered_and_told_with_its_reason(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(CLOSE, struct.pack("!H", 4001) + b"go away"))
        assert await peer.frame() == (CLOSE, struct.pack("!H", 4001))

    assert await talk(server) == [{"closed": 4001, "reason": "go away"}]


async def test_a_close_without_a_code_is_told_as_1005(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(CLOSE))
        assert await peer.frame() == (CLOSE, b"")

    assert await talk(server) == [{"closed": 1005, "reason": ""}]


async def test_the_client_says_goodbye_and_waits_for_the_answer(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(TEXT, b"bye"))
        assert await peer.frame() == (CLOSE, struct.pack("!H", 1000))
        await peer.send(frame(TEXT, b"one more") + frame(CLOSE, struct.pack("!H", 1000)))

    assert await talk(server) == [{"text": "bye", "size": 3}, {"said": "bye"}]


@pytest.mark.parametrize("security", ["ws"], indirect=True)
async def test_two_tasks_that_write_at_once_lose_nothing(security: str, firmware: Firmware, tmp_path: Path) -> None:
    heard: Counter[bytes] = Counter()

    async def server(peer: Peer) -> None:
        await peer.upgrade()
        await asyncio.sleep(0.3)
        while True:
            opcode, data = await peer.frame()
            if opcode == CLOSE:
                await peer.send(frame(CLOSE, data))
                return
            heard[data] += 1

    async with serving(server) as gateway:
        await firmware.run("write_both.py", gateway.url, folder=tmp_path)
    assert heard == {b"a" * 4_000: 1_000, b"b" * 4_000: 1_000, b"done": 1}


async def test_the_request_is_one_of_the_rfc(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await peer.upgrade()
        assert peer.path == "/lamp"
        assert peer.request[b"upgrade"] == b"websocket"
        assert peer.request[b"connection"] == b"Upgrade"
        assert peer.request[b"sec-websocket-version"] == b"13"
        assert peer.request[b"host"].startswith(b"127.0.0.1:")
        assert len(peer.request[b"sec-websocket-key"]) == 24

    await talk(server)


# What is not allowed: the client says so with the right code and leaves


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (frame(TEXT, b"x", bits=0x40), 1002),
        (b"\x81\x81\x00\x00\x00\x00x", 1002),
        (frame(3, b"x"), 1002),
        (frame(0, b"x"), 1002),
        (frame(TEXT, b"x", last=False) + frame(TEXT, b"y"), 1002),
        (frame(PING, b"x" * 126), 1002),
        (frame(PING, b"x", last=False), 1002),
        (frame(CLOSE, b"\x03"), 1002),
        (frame(CLOSE, struct.pack("!H", 1005)), 1002),
        (frame(CLOSE, struct.pack("!H", 999)), 1002),
        (frame(TEXT, b"\xc3\x28"), 1007),
        (frame(CLOSE, struct.pack("!H", 1000) + b"\xff"), 1007),
        (b"\x82\x7e\x10\x01", 1009),
        (b"\x82\x7f" + struct.pack("!Q", 1 << 40), 1009),
        (frame(BINARY, b"x" * 4_000, last=False) + frame(0, b"x" * 97), 1009),
    ],
    ids=[
        "reserved bit", "masked", "reserved opcode", "continuation of nothing", "new message in a message",
        "long ping", "ping in parts", "half a code", "code 1005", "code 999", "no UTF-8", "no UTF-8 in a reason",
        "too long", "terabytes", "too long in parts",
    ],
)  # fmt: skip
async def test_what_the_rfc_forbids_ends_the_connection(talk: Talk, wrong: bytes, code: int) -> None:
    closed: list[bytes] = []

    async def server(peer: Peer) -> None:
        await spoken(peer, wrong)
        opcode, data = await peer.frame()
        assert opcode == CLOSE
        closed.append(data[:2])

    assert (await talk(server))[0]["fault"] == code
    assert closed == [struct.pack("!H", code)]


# Servers that are none, or fail


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", ["answers HTTP 403", None]),
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\n\r\n", ["answers HTTP 503", 7000]),
        (b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\n\r\n", ["is no gateway: it does not know WebSocket"]),
        (
            b"HTTP/1.1 101 Fine\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: AAAA\r\n\r\n",
            ["is no gateway: it does not know WebSocket"],
        ),
        (b"220 mail.example ESMTP\r\n\r\n", ["is no gateway: it does not speak HTTP"]),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5_000, ["is no gateway: it answers with too much"]),
        (b"", ["hangs up at once"]),
    ],
    ids=["forbidden", "busy", "no accept", "wrong accept", "mail server", "endless head", "nothing"],
)
async def test_a_server_that_does_not_upgrade_is_told_apart(talk: Talk, answer: bytes, why: list[Any]) -> None:
    async def server(peer: Peer) -> None:
        await peer.upgrade(answer)
        await asyncio.sleep(0.05 if answer else 0)

    (told,) = await talk(server)
    assert told["link"][0].split(" ", 1)[1] == why[0]
    assert told["link"][1:] == why[1:]


async def test_a_connection_cut_in_the_middle_of_a_frame_ends_it(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await spoken(peer, frame(TEXT, b"x" * 100)[:40])

    assert (await talk(server))[0] in ({"end": True}, {"error": 104})


async def test_a_server_that_never_answers_is_given_up_and_the_lamp_goes_on_meanwhile(talk: Talk) -> None:
    async def server(peer: Peer) -> None:
        await asyncio.sleep(60)

    assert await talk(server) == [{"timeout": True}]


async def test_refused_attempts_leave_no_socket(talk: Talk, security: str) -> None:
    async def server(peer: Peer) -> None:
        await peer.upgrade(b"HTTP/1.1 403 Forbidden\r\n\r\n")

    times = 100 if security == "ws" else 10
    assert len(await talk(server, times=times)) == times


# Trust


@pytest.mark.parametrize("security", ["wss"], indirect=True)
@pytest.mark.parametrize(
    ("how", "says"),
    [
        ({}, None),
        ({"names": "gateway.example"}, "does not match with the expected CN"),
        ({"first": 2000, "last": 2001}, "expired"),
        ({"first": 2049}, "future"),
        ({"signer": None}, "not correctly signed by the trusted CA"),
    ],
    ids=["right", "of another", "expired", "of the future", "of another fleet"],
)
async def test_only_the_certificate_of_the_gateway_is_trusted(
    talk: Talk, ca: Authority, tmp_path: Path, how: dict[str, Any], says: str | None
) -> None:
    if "signer" in how:
        ca = authority("other")
        how = {}

    async def server(peer: Peer) -> None:
        await spoken(peer, frame(TEXT, b"secret"))

    (told, *_) = await talk(server, context=server_context(ca, tmp_path, **how))
    if says is None:
        assert told == {"text": "secret", "size": 6}
    else:
        assert "is not trusted" in told["link"][0]
        assert says in told["link"][0]
        assert "\n" not in told["link"][0]


@pytest.mark.parametrize("security", ["wss"], indirect=True)
async def test_without_the_certificate_of_the_fleet_nobody_is_trusted(talk: Talk, tmp_path: Path) -> None:
    (tmp_path / "ca.der").unlink()

    async def server(peer: Peer) -> None:
        await peer.gone()

    (told,) = await talk(server)
    assert told == {"link": ["there is no certificate of the fleet to know the gateway by"]}


@pytest.mark.parametrize("security", ["wss"], indirect=True)
async def test_a_plain_server_is_not_taken_for_a_secure_one(talk: Talk, firmware: Firmware, tmp_path: Path) -> None:
    async def server(peer: Peer) -> None:
        await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await asyncio.sleep(0.2)

    async with serving(server) as plain:
        out = await firmware.run("talk.py", plain.url.replace("ws:", "wss:"), 1, folder=tmp_path)
    assert "link" in json.loads(out.splitlines()[0])

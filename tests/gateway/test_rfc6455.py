"""The WebSocket protocol, case by case, against a gateway that runs. Numbers are sections of RFC 6455."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from espfleet.domain.devices import Dialect, Kind
from tests.gateway.conftest import Fleet, Gateway
from tests.gateway.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, Raw, frame, raw, request

KEEPALIVE = b'{"type":"keepalive"}'


@pytest.fixture
async def lamp(fleet: Fleet, gateway: Gateway) -> AsyncIterator[Raw]:
    """Return the connection of a lamp that has been welcomed."""
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as link:
        await link.upgrade()
        hello = {"type": "hello", "protocol": 1, "id": device.id, "token": token}
        await link.write(frame(TEXT, json.dumps(hello).encode()))
        assert json.loads((await link.frame()).payload)["type"] == "welcome"
        yield link


async def alive(lamp: Raw) -> bool:
    """Tell whether the gateway still answers a ping."""
    await lamp.write(frame(PING, b"there?"))
    while (got := await lamp.control()).opcode == PING:
        # Cameras are asked, too.
        continue
    return (got.opcode, got.payload) == (PONG, b"there?")


async def test_5_2_a_ping_is_answered_with_its_payload(lamp: Raw) -> None:
    for payload in (b"", b"x", bytes(125)):
        await lamp.write(frame(PING, payload))
        got = await lamp.control()
        assert (got.opcode, got.payload) == (PONG, payload)


async def test_5_5_3_a_pong_nobody_asked_for_is_ignored(lamp: Raw) -> None:
    await lamp.write(frame(PONG, b"hello"))
    assert await alive(lamp)


async def test_5_4_a_message_may_come_in_parts(lamp: Raw) -> None:
    await lamp.write(frame(TEXT, KEEPALIVE[:5], fin=False) + frame(CONT, KEEPALIVE[5:9], fin=False))
    await lamp.write(frame(CONT, KEEPALIVE[9:]))
    assert await alive(lamp)


async def test_5_4_control_frames_may_come_between_the_parts(lamp: Raw) -> None:
    await lamp.write(frame(TEXT, KEEPALIVE[:5], fin=False) + frame(PING, b"1"))
    assert (await lamp.control()).payload == b"1"
    await lamp.write(frame(PONG) + frame(CONT, KEEPALIVE[5:9], fin=False) + frame(PING, b"2"))
    assert (await lamp.control()).payload == b"2"
    await lamp.write(frame(CONT, KEEPALIVE[9:]))
    assert await alive(lamp)


async def test_5_4_parts_may_be_empty(lamp: Raw) -> None:
    await lamp.write(frame(TEXT, fin=False) + frame(CONT, KEEPALIVE, fin=False) + frame(CONT))
    assert await alive(lamp)


@pytest.mark.parametrize("cut", [7, 8, 9])
async def test_5_6_a_character_may_be_cut_in_two_by_the_end_of_a_part(lamp: Raw, cut: int) -> None:
    text = '{"a":"\U0001f4a1","type":"keepalive"}'.encode()
    await lamp.write(frame(TEXT, text[:cut], fin=False) + frame(PONG) + frame(CONT, text[cut:]))
    assert await alive(lamp)


@pytest.mark.parametrize("size", [19, 125, 126, 127, 4_095, 4_096])
async def test_5_2_a_text_of_every_form_of_length_is_heard(lamp: Raw, size: int) -> None:
    await lamp.write(frame(TEXT, KEEPALIVE.ljust(size)))
    assert await alive(lamp)


@pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 1_048_576])
async def test_5_2_a_picture_of_every_form_of_length_is_taken(fleet: Fleet, gateway: Gateway, size: int) -> None:
    _, token = await fleet.add("cam", dialect=Dialect.HUB, kinds=(Kind.CAMERA,))
    async with raw(gateway.port) as link:
        await link.upgrade("/websocket")
        told = {"event": "identify", "data": {"type": "esp32", "device": "cam", "auth_token": token}}
        await link.write(frame(TEXT, json.dumps(told).encode()))
        while b"identify_success" not in (await link.frame()).payload:
            pass
        jpeg = b"\xff\xd8\xff" + bytes(size - 5) + b"\xff\xd9"
        await link.write(frame(BINARY, jpeg))
        assert await alive(link)
        if size == 1_048_576:
            await link.write(frame(BINARY, jpeg + b"x"))
            assert await link.close_code() == 1009


async def test_5_2_frames_may_come_byte_by_byte(lamp: Raw) -> None:
    for byte in frame(TEXT, KEEPALIVE) + frame(PING, b"slow"):
        await lamp.write(bytes([byte]))
        await asyncio.sleep(0.001)
    assert (await lamp.control()).payload == b"slow"


async def test_5_2_a_length_may_be_written_longer_than_it_must(lamp: Raw) -> None:
    # The RFC forbids it for senders; receivers may be lenient, and none may be confused.
    mask = b"\1\2\3\4"
    masked = bytes(byte ^ mask[index & 3] for index, byte in enumerate(KEEPALIVE))
    await lamp.write(b"\x81\xfe\x00\x14" + mask + masked)
    assert await alive(lamp)


@pytest.mark.parametrize("mask", [b"\0\0\0\0", b"\xff\xff\xff\xff"])
async def test_5_3_every_mask_is_understood(lamp: Raw, mask: bytes) -> None:
    await lamp.write(frame(TEXT, KEEPALIVE, mask=mask))
    assert await alive(lamp)


@pytest.mark.parametrize(
    ("what", "data", "code"),
    [
        ("unmasked", frame(TEXT, KEEPALIVE, mask=None), 1002),
        ("masked without saying so", b"\x81\x13" + frame(TEXT, KEEPALIVE)[2:], 1002),
        ("unmasked ping", frame(PING, mask=None), 1002),
        ("reserved bit 1", frame(TEXT, KEEPALIVE, rsv=4), 1002),
        ("reserved bit 2", frame(TEXT, KEEPALIVE, rsv=2), 1002),
        ("reserved bit 3", frame(PING, rsv=1), 1002),
        ("reserved opcode 3", frame(3, b"x"), 1002),
        ("reserved opcode 7", frame(7), 1002),
        ("reserved control opcode 11", frame(11), 1002),
        ("reserved control opcode 15", frame(15), 1002),
        ("control frame in parts", frame(PING, b"x", fin=False), 1002),
        ("control frame above 125 bytes", frame(PING, bytes(126)), 1002),
        ("continuation of nothing", frame(CONT, b"x"), 1002),
        ("continuation after the last part", frame(TEXT, KEEPALIVE) + frame(CONT, b"x"), 1002),
        ("message within a message", frame(TEXT, b"{", fin=False) + frame(TEXT, KEEPALIVE), 1002),
        ("text that is not UTF-8", frame(TEXT, b'{"type":"\xff"}'), 1007),
        ("overlong UTF-8", frame(TEXT, b"\xc0\xaf"), 1007),
        ("surrogate in UTF-8", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("UTF-8 cut short", frame(TEXT, b"\xe2\x82"), 1007),
        ("UTF-8 cut short in parts", frame(TEXT, b"\xe2", fin=False) + frame(CONT, b"\x82"), 1007),
        ("text above 4 KiB", frame(TEXT, bytes(4_097)), 1009),
        ("text above 4 KiB in parts", frame(TEXT, bytes(4_000), fin=False) + frame(CONT, bytes(97)), 1009),
        ("1 MiB", frame(TEXT, b" " * 1_048_576), 1009),
        ("length of 2^63 - 1", frame(BINARY, says=2**63 - 1), 1009),
        ("length above 2^63", b"\x81\xff" + b"\xff" * 8 + b"\1\2\3\4", 1009),
        ("close with one byte", frame(CLOSE, b"\x03"), 1002),
        ("close with code 0", frame(CLOSE, b"\0\0"), 1002),
        ("close with code 999", frame(CLOSE, (999).to_bytes(2, "big")), 1002),
        ("close with code 1004", frame(CLOSE, (1004).to_bytes(2, "big")), 1002),
        ("close with code 1015", frame(CLOSE, (1015).to_bytes(2, "big")), 1002),
        ("close with code 1016", frame(CLOSE, (1016).to_bytes(2, "big")), 1002),
        ("close with code 2999", frame(CLOSE, (2999).to_bytes(2, "big")), 1002),
        ("close with code 65535", frame(CLOSE, b"\xff\xff"), 1002),
        ("close in parts", frame(CLOSE, b"\x03\xe8", fin=False), 1002),
        ("close above 125 bytes", frame(CLOSE, b"\x03\xe8" + b"x" * 124), 1002),
        ("close with half a character", frame(CLOSE, b"\x03\xe8\xe2\x82"), 1007),
        ("UTF-8 beyond the last character", frame(TEXT, b"\xf4\x90\x80\x80"), 1007),
        ("UTF-8 wrong where a part begins", frame(TEXT, b"{\xe2", fin=False) + frame(CONT, b"{}"), 1007),
        ("close with code 1005", frame(CLOSE, (1005).to_bytes(2, "big")), 1002),
        ("close with code 1006", frame(CLOSE, (1006).to_bytes(2, "big")), 1002),
        ("close with code 2000", frame(CLOSE, (2000).to_bytes(2, "big")), 1002),
        ("close with code 5000", frame(CLOSE, (5000).to_bytes(2, "big")), 1002),
        ("close with a reason that is not UTF-8", frame(CLOSE, b"\x03\xe8\xff"), 1007),
        ("close within a message", frame(TEXT, b"{", fin=False) + frame(CLOSE, b"\x03\xe8"), 1002),
        ("binary from a lamp", frame(BINARY, b"picture"), 4003),
        ("a bad message", frame(TEXT, b"{"), 4003),
    ],
)
async def test_what_is_forbidden_ends_with_its_close_code(
    lamp: Raw, gateway: Gateway, what: str, data: bytes, code: int
) -> None:
    await lamp.write(data)
    assert await lamp.close_code() == code
    async with raw(gateway.port) as other:
        await other.upgrade()


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999])
async def test_7_1_5_a_close_is_answered_with_its_code(lamp: Raw, code: int) -> None:
    await lamp.write(frame(CLOSE, code.to_bytes(2, "big") + b"bye".ljust(123)))
    assert await lamp.close_code() == code


async def test_7_1_5_a_close_without_a_code_is_answered_without_one(lamp: Raw) -> None:
    await lamp.write(frame(CLOSE))
    assert await lamp.close_code() == 1005


async def test_7_after_its_close_a_client_is_not_heard(lamp: Raw) -> None:
    await lamp.write(frame(CLOSE, b"\x03\xe8") + frame(PING, b"x") + frame(TEXT, b"{"))
    assert await lamp.close_code() == 1000


async def test_7_a_client_may_leave_without_a_word(lamp: Raw, gateway: Gateway) -> None:
    await lamp.write(frame(TEXT, KEEPALIVE)[:9])
    lamp.writer.transport.abort()
    async with raw(gateway.port) as other:
        await other.upgrade()


async def test_4_2_1_half_an_upgrade_request_and_the_rest_later_is_understood(gateway: Gateway) -> None:
    whole = request()
    async with raw(gateway.port) as link:
        await link.write(whole[:60])
        await asyncio.sleep(0.05)
        await link.write(whole[60:])
        assert (await link.head()).startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize(
    ("what", "data", "status"),
    [
        ("not HTTP", b"hello\r\n\r\n", 400),
        ("binary", bytes(range(128, 256)) + b"\r\n\r\n", 400),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        ("HTTP/1.0", request().replace(b"HTTP/1.1", b"HTTP/1.0"), 505),
        ("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        ("POST", request().replace(b"GET", b"POST"), 405),
        ("a body", request(Content_Length="5") + b"hello", 400),
        ("a bad header", request().replace(b"Host:", b"Ho st:"), 400),
        ("no key", request(Sec_WebSocket_Key=None), 400),
        ("a short key", request(Sec_WebSocket_Key="abcd"), 400),
        ("version 8", request(Sec_WebSocket_Version="8"), 400),
        ("no version", request(Sec_WebSocket_Version=None), 400),
        ("another upgrade", request(Upgrade="h2c"), 426),
        ("no connection header", request(Connection="close"), 426),
        ("a long line", request("/" + "x" * 9_000), 414),
        ("a long header", request(X_Long="x" * 9_000), 431),
        ("many headers", request(**{f"X_{number}": "x" for number in range(200)}), 431),
        ("much of everything", request(**{f"X_{number}": "x" * 4_000 for number in range(5)}), 431),
        ("a page of another site", request(Origin="http://example.com"), 403),
        ("a page of another site behind our name", request(Host="example.com", Origin="http://example.com"), 403),
        ("a page from nowhere", request(Origin="null"), 403),
        ("a bad origin", request(Origin="http://["), 403),
        ("a browser", request(Upgrade=None, Connection="keep-alive"), 426),
        ("a browser elsewhere", request("/", Upgrade=None, Connection="keep-alive"), 404),
        ("a browser at a bad path", request("//[", Upgrade=None, Connection="keep-alive"), 404),
    ],
)
async def test_what_is_no_handshake_gets_a_short_answer(gateway: Gateway, what: str, data: bytes, status: int) -> None:
    async with raw(gateway.port) as link:
        await link.write(data)
        answer = await link.answer()
        assert answer.startswith(f"HTTP/1.1 {status} "), answer
        assert len(answer) < 600
        assert "Traceback" not in answer
    async with raw(gateway.port) as other:
        await other.upgrade()


async def test_a_page_of_this_machine_may_connect(gateway: Gateway) -> None:
    async with raw(gateway.port) as link:
        await link.write(request(Host="localhost:5678", Origin="http://localhost:8000"))
        assert (await link.head()).startswith("HTTP/1.1 101 ")


@pytest.mark.parametrize(
    "early", [frame(PING, b"x"), frame(TEXT, b"{"), frame(CLOSE, b"\x03\xe8"), frame(PING, mask=None), b"\x81"]
)
async def test_a_client_must_wait_for_the_answer_to_its_handshake(gateway: Gateway, early: bytes) -> None:
    async with raw(gateway.port) as link:
        await link.write(request() + early)
        assert (await link.answer()).startswith("HTTP/1.1 400 ")

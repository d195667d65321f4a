"""The usual request read by hand means what websockets' parser makes of it; nothing else is read by hand."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request
from websockets.server import ServerProtocol

from espfleet.gateway.handshakes import USUAL_BYTES, USUAL_HEADERS, handshake_of, usual_handshake
from tests.gateway.raw import request

BROWSER = {
    "Host": "127.0.0.1:5678",
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64)",
    "Accept-Language": "en-US,en;q=0.5",
    "Origin": "http://127.0.0.1:5678",
    "Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits",
    "Connection": "keep-alive, Upgrade",
    "Authorization": "Bearer secret",
}


def parsed(data: bytes) -> tuple[Request | None, int, str]:
    """Return what websockets reads, and the status and accepted key of its answer."""
    protocol = ServerProtocol()
    protocol.receive_data(data)
    events = protocol.events_received()
    if not events:
        return None, 0, ""
    assert isinstance(events[0], Request)
    answer = protocol.accept(events[0])
    return events[0], answer.status_code, answer.headers.get("Sec-WebSocket-Accept", "")


def agrees(data: bytes) -> bool:
    """Tell whether a request was read by hand, and see that it then means the same."""
    usual = usual_handshake(data)
    if usual is None:
        return False
    handshake, answer = usual
    theirs, status, key = parsed(data)
    assert theirs is not None
    assert (status, handshake) == (101, handshake_of(theirs))
    head, *lines = answer.decode().split("\r\n")
    assert head == "HTTP/1.1 101 Switching Protocols"
    assert f"Sec-WebSocket-Accept: {key}" in lines
    assert answer.endswith(b"\r\n\r\n")
    return True


@pytest.mark.parametrize(
    "data",
    [
        request(),
        request("/watch"),
        request("/relay?token=a&id=7"),
        request(**{name.replace("-", "_"): value for name, value in BROWSER.items()}),
        request(Upgrade="WebSocket"),
        request(Host=None),
        request(X_Empty=""),
    ],
)
def test_what_lamps_and_browsers_send_is_read_by_hand(data: bytes) -> None:
    assert agrees(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        request()[:-1],
        request() + b"\x81",
        request().replace(b"\r\n", b"\n"),
        request().replace(b"GET", b"POST"),
        request().replace(b"HTTP/1.1", b"HTTP/1.0"),
        request().replace(b"GET /", b"GET "),
        request("/ü"),
        request(Upgrade="h2c"),
        request(Upgrade=None),
        request(Upgrade="websocket, h2c"),
        request(Connection="close"),
        request(Sec_WebSocket_Version="8"),
        request(Sec_WebSocket_Key="short"),
        request(Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZR=="),
        request(Sec_WebSocket_Key=None),
        request(Content_Length="0"),
        request(Transfer_Encoding="chunked"),
        request(X_Folded="a\r\n b"),
        request(X_Long="x" * USUAL_BYTES),
        request(**{f"X_{number}": "x" for number in range(USUAL_HEADERS)}),
        request().replace(b"\r\n\r\n", b"\r\nHost: other\r\n\r\n"),
        request().replace(b"\r\n\r\n", b"\r\nOrigin: http://a\r\norigin: http://b\r\n\r\n"),
    ],
)
def test_everything_unusual_is_left_to_the_parser(data: bytes) -> None:
    assert usual_handshake(data) is None


@given(
    target=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["Host", "Origin", "Authorization", "Connection", "Upgrade", "X-A", "sec-websocket-key"]),
            st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=20)
            | st.sampled_from(["upgrade", "websocket", " , Upgrade ,", "\tUpgrade", "dGhlIHNhbXBsZSBub25jZQ=="]),
        ),
        max_size=6,
    ),
)
def test_whatever_is_read_by_hand_means_the_same_to_the_parser(target: str, headers: list[tuple[str, str]]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    data = request(f"/{target}")[:-2] + lines.encode("latin-1") + b"\r\n"
    agrees(data)


def test_one_changed_byte_never_makes_it_mean_something_else() -> None:
    whole, rng = request(Origin="http://a", Authorization="Bearer b"), random.Random(7)
    read = 0
    for _ in range(4_000):
        torn = bytearray(whole)
        torn[rng.randrange(len(torn))] = rng.randrange(256)
        read += agrees(bytes(torn))
    assert 0 < read < 4_000

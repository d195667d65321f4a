"""Whatever frames come, however cut into packets: a connection hears what websockets' parser alone reads."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from espfleet.domain.devices import Reason
from espfleet.domain.messages import KEEPALIVE, TEXT_BYTES
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import KEEPALIVE_TEXTS
from espfleet.gateway.hearing import Hearing
from tests.gateway.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame, request

Heard = tuple[str, bytes]


class Transport:
    """Takes what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data

    def get_extra_info(self, name: str) -> object:
        return ("192.0.2.1", 1) if name == "peername" else None

    def can_write_eof(self) -> bool:
        return True

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, **_: int) -> None: ...

    def write_eof(self) -> None: ...

    def close(self) -> None: ...


class Reception:
    """Lets everybody in, and counts nothing."""

    waiting_bytes = 1 << 30

    def __init__(self, peer: Peer) -> None:
        self.hearing = Hearing()
        self.peer = peer

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None

    def messages_left(self, _taken: int) -> bool:
        return True

    def bytes_left(self, _taken: int, _most: int) -> bool:
        return True

    def opened(self, connection: Connection, _handshake: object) -> None:
        connection.peer = self.peer  # type: ignore[assignment]


class Peer:
    """Remembers what it hears."""

    most_bytes = TEXT_BYTES

    def __init__(self) -> None:
        self.heard_all: list[Heard] = []

    def heard(self) -> None:
        self.heard_all.append(("text", KEEPALIVE.encode()))

    def stirred(self) -> None:
        self.heard_all.append(("control", b""))

    def text(self, text: str, /) -> None:
        self.heard_all.append(("text", KEEPALIVE.encode() if text in KEEPALIVE_TEXTS else text.encode()))

    def binary(self, data: bytes, /) -> None:
        self.heard_all.append(("binary", data))

    def writable(self) -> None: ...

    def lost(self, _reason: Reason, /) -> None: ...


def ours(packets: list[bytes]) -> tuple[list[Heard], int | None]:
    """Return what a connection makes of packets: what was heard, and the code it closes with."""
    peer, transport = Peer(), Transport()

    async def receive() -> None:
        connection = Connection(Reception(peer))
        connection.connection_made(transport)  # type: ignore[arg-type]
        connection.data_received(request())
        transport.written = b""
        for packet in packets:
            connection.data_received(packet)
        connection.connection_lost(None)

    asyncio.run(receive())
    return peer.heard_all, _code(transport.written)


def theirs(data: bytes) -> tuple[list[Heard], int | None]:
    """Return the same by ``websockets`` alone, in one piece."""
    protocol = ServerProtocol(state=State.OPEN, max_size=TEXT_BYTES)
    protocol.receive_data(data)
    told: list[Heard] = []
    kind, parts = Opcode.TEXT, b""
    for event in protocol.events_received():
        assert isinstance(event, Frame)
        if event.opcode is Opcode.CLOSE:
            break
        if event.opcode in (Opcode.PING, Opcode.PONG):
            told.append(("control", b""))
            continue
        if event.opcode is not Opcode.CONT:
            kind, parts = event.opcode, b""
        parts += bytes(event.data)
        if not event.fin:
            continue
        if kind is Opcode.BINARY:
            told.append(("binary", parts))
            continue
        try:
            text = parts.decode()
        except UnicodeDecodeError:
            return told, 1007
        told.append(("text", KEEPALIVE.encode() if text in KEEPALIVE_TEXTS else parts))
    return told, _code(b"".join(protocol.data_to_send()))


def _code(written: bytes) -> int | None:
    """Return the code of the close frame in what a server wrote, or ``None`` if there is none."""
    while written:
        assert written[1] < 126, "only pongs and close frames are written here"
        opcode, payload, written = written[0] & 15, written[2 : 2 + written[1]], written[2 + written[1] :]
        if opcode == CLOSE:
            return int.from_bytes(payload[:2], "big") if payload else 1005
    return None


PAYLOADS = st.sampled_from(
    [
        b"", *(text.encode() for text in KEEPALIVE_TEXTS), b"\xe2", b"\x82\xac", b"\xff", b"{}", b"x" * 125, b"x" * 126,
        b"x" * TEXT_BYTES, b"x" * (TEXT_BYTES + 1), b"\x03\xe8", b"\x03", b"\x03\xed", b"\x03\xe8\xff",
    ]
)  # fmt: skip
USUAL = st.builds(frame, st.sampled_from([TEXT, TEXT, TEXT, BINARY, CONT, PING, PONG]), PAYLOADS, fin=st.booleans())
ODD = st.builds(
    frame,
    st.integers(0, 15),
    PAYLOADS,
    fin=st.booleans(),
    rsv=st.sampled_from([0, 0, 1, 2, 4]),
    mask=st.sampled_from([b"\0\0\0\0", b"\1\2\3\4", None]),
)
#: Masked, and not saying so.
UNTOLD = USUAL.map(lambda data: bytes((data[0], data[1] & 0x7F)) + data[2:])
STREAMS = st.lists(USUAL | USUAL | ODD | UNTOLD | st.binary(max_size=4), max_size=8).map(b"".join)


@given(STREAMS, st.lists(st.integers(0, 400), max_size=6))
@settings(max_examples=250, suppress_health_check=list(HealthCheck))
def test_what_is_heard_depends_on_no_packet(data: bytes, cuts: list[int]) -> None:
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    packets = [data[start:end] for start, end in itertools.pairwise(places)]
    assert ours(packets) == theirs(data)


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_stream_in_small_pieces_is_heard_like_one_in_one(size: int) -> None:
    keepalive = frame(TEXT, KEEPALIVE.encode())
    data = b"".join(
        [keepalive, frame(PING, b"1"), frame(TEXT, b"\xe2", fin=False), keepalive[:0], frame(CONT, b"\x82\xac"),
         keepalive, frame(BINARY, b"x" * 200), keepalive + keepalive, frame(CLOSE, b"\x03\xe8")]
    )  # fmt: skip
    told = theirs(data)
    assert [kind for kind, _ in told[0]] == ["text", "control", "text", "text", "binary", "text", "text"]
    assert told[1] == 1000
    assert ours([data[at : at + size] for at in range(0, len(data), size)]) == ours([data]) == told


def test_parts_that_hold_nothing_take_no_memory() -> None:
    connection = Connection(Reception(Peer()))
    connection.connection_made(Transport())  # type: ignore[arg-type]
    connection.data_received(request())
    connection.data_received(frame(TEXT, b"{", fin=False))
    for _ in range(1_000):
        connection.data_received(frame(CONT, fin=False))
    assert connection._parts == (Opcode.TEXT, [b"{"])

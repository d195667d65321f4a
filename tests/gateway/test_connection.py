"""One connection without a network: the short way of keepalives does what the long way does, and holds nothing."""

from __future__ import annotations

import asyncio
import random
import socket

import pytest

from espfleet.domain.devices import Reason
from espfleet.domain.messages import KEEPALIVE, TEXT_BYTES, ProtocolError
from espfleet.gateway.accepting import NOWHERE
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import KEEPALIVE_TEXTS, close_frame, is_keepalive, text_frame, whole_text
from espfleet.gateway.handshakes import Handshake
from espfleet.gateway.hearing import Hearing
from espfleet.gateway.peers import Refusal
from tests.conftest import wait_until
from tests.gateway.raw import BINARY, CLOSE, CONT, PING, TEXT, frame, request


class Wire(asyncio.Transport):
    """A transport that keeps what is written, and can be stuck."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.waiting = bytearray()
        self.stuck = False
        self.ended = False
        self.protocol: Connection | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.ended, "nothing may be written after the end"
        if not self.stuck:
            self.written += data
            return
        if not self.waiting and self.protocol is not None:
            self.protocol.pause_writing()
        self.waiting += data

    def flow(self) -> None:
        """Let what waits go."""
        self.stuck = False
        self.written += self.waiting
        self.waiting.clear()
        assert self.protocol is not None
        self.protocol.resume_writing()

    def get_write_buffer_size(self) -> int:
        return len(self.waiting)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert (high, low) == (0, 0)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True


WAITING_BYTES = 1_048_576


class Desk:
    """A reception that lets everybody in, and remembers what came."""

    most_bytes = TEXT_BYTES

    def __init__(self) -> None:
        self.hearing = Hearing()
        self.got: list[str] = []
        self.stuck: set[Connection] = set()
        self.keepalives = 0

    def clock(self) -> float:
        return 5.0

    def messages_left(self, taken: int) -> bool:
        return taken < 10_000

    def bytes_left(self, taken: int, most_bytes: int) -> bool:
        return taken < 1_000_000

    @property
    def waiting_bytes(self) -> int:
        return WAITING_BYTES

    def arrived(self, connection: Connection) -> None:
        self.got.append("arrived")

    def refusal(self, connection: Connection, handshake: Handshake) -> Refusal | None:
        return None

    def opened(self, connection: Connection, handshake: Handshake) -> None:
        connection.peer = self

    def blocked(self, connection: Connection) -> None:
        self.stuck.add(connection)

    def flows(self, connection: Connection) -> None:
        self.stuck.discard(connection)

    def closing(self, connection: Connection) -> None:
        self.got.append("closing")

    def left(self, connection: Connection) -> None:
        self.got.append("left")

    def heard(self) -> None:
        self.keepalives += 1

    def stirred(self) -> None:
        self.got.append("stirred")

    def text(self, text: str) -> None:
        if text in KEEPALIVE_TEXTS:
            self.heard()
        else:
            self.got.append(text)

    def binary(self, data: bytes) -> None:
        self.got.append(f"binary {len(data)}")

    def turned(self) -> None:
        self.got.append("turned")

    def lost(self, reason: Reason) -> None:
        self.got.append(f"lost: {reason.value}")


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def connection(desk: Desk, wire: Wire) -> Connection:
    """Return a connection whose handshake is done."""
    opened = Connection(desk)
    wire.protocol = opened
    opened.connection_made(wire)
    opened.data_received(request())
    assert wire.written.startswith(b"HTTP/1.1 101 ")
    wire.written.clear()
    desk.got.clear()
    return opened


def holds_nothing(connection: Connection) -> bool:
    return connection._rare is None and connection._parts is None and connection._waiting is None


@pytest.mark.parametrize("text", KEEPALIVE_TEXTS)
def test_the_usual_keepalive_wakes_nothing(connection: Connection, desk: Desk, text: str) -> None:
    assert holds_nothing(connection)
    for number in range(256):
        data = frame(TEXT, text.encode(), mask=random.Random(number).randbytes(4))
        assert is_keepalive(data)
        connection.data_received(data)
        assert holds_nothing(connection)
    assert (desk.keepalives, connection.taken, desk.got) == (256, 256, [])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81",
        frame(TEXT, KEEPALIVE.encode())[:-1],
        frame(TEXT, KEEPALIVE.encode()) * 2,
        frame(TEXT, KEEPALIVE.encode(), mask=None),
        frame(TEXT, KEEPALIVE.encode(), fin=False),
        frame(TEXT, KEEPALIVE.encode(), rsv=4),
        frame(BINARY, KEEPALIVE.encode()),
        frame(PING, KEEPALIVE.encode()),
        frame(TEXT, KEEPALIVE.replace("keep", "KEEP").encode()),
        frame(TEXT, b"x" * len(KEEPALIVE)),
    ],
)
def test_nothing_else_takes_the_short_way(data: bytes) -> None:
    assert not is_keepalive(data)


def test_keepalives_that_come_together_wake_nothing_either(connection: Connection, desk: Desk) -> None:
    some = b"".join(frame(TEXT, text.encode()) for text in (*KEEPALIVE_TEXTS, KEEPALIVE))
    connection.data_received(some)
    assert (desk.keepalives, connection.taken, desk.got, holds_nothing(connection)) == (3, 3, [], True)
    connection.data_received(some + frame(TEXT, b"hello"))
    assert (desk.keepalives, connection.taken, desk.got, holds_nothing(connection)) == (6, 7, ["hello"], True)


def test_texts_that_come_together_wake_nothing_either(
    connection: Connection, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("espfleet.gateway.connection.ServerProtocol")
    texts = [frame(TEXT, text.encode()) for text in ("hello", KEEPALIVE, "again")]
    connection.data_received(b"".join(texts))
    assert (desk.keepalives, connection.taken, desk.got, holds_nothing(connection)) == (1, 3, ["hello", "again"], True)


def test_the_bytes_of_texts_that_come_together_count_once(connection: Connection, desk: Desk) -> None:
    texts = frame(TEXT, b"x" * 100) * 5
    connection.data_received(texts)
    assert connection.taken_bytes == len(texts)
    assert len(desk.got) == 5


def test_who_says_who_it_is_and_more_in_one_packet_is_heard_as_that(connection: Connection, desk: Desk) -> None:
    class Guest(Desk):
        def text(self, text: str) -> None:
            super().text(text)
            connection.peer = desk

    guest = connection.peer = Guest()
    connection.data_received(b"".join(frame(TEXT, text) for text in (b"hello", KEEPALIVE.encode(), b"more")))
    assert (guest.got, guest.keepalives) == (["hello"], 0)
    assert (desk.got, desk.keepalives) == (["more"], 1)


def test_nothing_is_heard_after_what_ended_it(connection: Connection, desk: Desk) -> None:
    class Strict(Desk):
        def text(self, text: str) -> None:
            super().text(text)
            raise ProtocolError("this is nothing to say")

    strict = connection.peer = Strict()
    connection.data_received(b"".join(frame(TEXT, text) for text in (b"wrong", KEEPALIVE.encode(), b"more")))
    assert (strict.got[0], strict.keepalives) == ("wrong", 0)
    assert "more" not in strict.got
    assert desk.got == ["closing"]


def test_a_flood_of_keepalives_in_one_packet_is_ended_at_the_limit(connection: Connection, desk: Desk) -> None:
    connection.data_received(frame(TEXT, KEEPALIVE.encode()) * 20_000)
    assert desk.keepalives == 9_999
    assert "closing" in desk.got


@pytest.mark.parametrize("cut", range(1, 30))
def test_what_is_torn_after_keepalives_is_put_together(connection: Connection, desk: Desk, cut: int) -> None:
    whole = frame(TEXT, KEEPALIVE.encode())
    cut %= len(whole)
    connection.data_received(whole * 2 + whole[:cut])
    connection.data_received(whole[cut:])
    assert (desk.keepalives, connection.taken, desk.got, holds_nothing(connection)) == (3, 3, [], True)


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 300, 4_096])
def test_a_text_message_that_comes_whole_takes_a_short_way_too(connection: Connection, desk: Desk, length: int) -> None:
    text = "x" * length
    assert whole_text(frame(TEXT, text.encode()), 4_096) == (text.encode(), b"")
    assert whole_text(frame(TEXT, text.encode()) + b"\x81rest", 4_096) == (text.encode(), b"\x81rest")
    connection.data_received(frame(TEXT, text.encode()))
    assert desk.got == [text]
    assert (connection.taken, holds_nothing(connection)) == (1, True)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81\x80",
        frame(TEXT, b"hello")[:-1],
        frame(TEXT, b"hello", mask=None),
        frame(TEXT, b"hello", fin=False),
        frame(TEXT, b"hello", rsv=4),
        frame(BINARY, b"hello"),
        frame(CONT, b"hello"),
        frame(TEXT, b"x" * 4_097),
        frame(TEXT, b"x" * 70_000),
        # Lengths that are written longer than needed, and one of 64 bits that reads like 127.
        b"\x81\xfe\x00\x05\0\0\0\0hello",
        b"\x81\xff" + b"\0" * 131,
    ],
)
def test_what_is_not_one_whole_text_goes_by_the_rfc(data: bytes) -> None:
    assert whole_text(data, 4_096) is None


MESSAGES = [
    frame(TEXT, KEEPALIVE.encode()),
    frame(TEXT, KEEPALIVE_TEXTS[1].encode()),
    frame(TEXT, b'{"type":"event","name":"a"}'),
    frame(TEXT, b"", fin=False) + frame(PING, b"x") + frame(CONT, KEEPALIVE.encode()),
    frame(TEXT, ("ü" * 100).encode()),
    frame(BINARY, bytes(300)),
    frame(PING, b"hi"),
]


def outcome(pieces: list[bytes]) -> tuple[int, int, list[str], bytes, bool]:
    """Return everything that a connection did with what came in these pieces."""
    desk, wire = Desk(), Wire()
    connection = Connection(desk)
    wire.protocol = connection
    connection.connection_made(wire)
    connection.data_received(request())
    wire.written.clear()
    for piece in pieces:
        connection.data_received(piece)
    return desk.keepalives, connection.taken, desk.got, bytes(wire.written), holds_nothing(connection)


@pytest.mark.parametrize("index", range(len(MESSAGES)))
def test_wherever_a_message_is_torn_it_means_the_same(index: int) -> None:
    data = MESSAGES[index]
    whole = outcome([data])
    assert whole[4]
    for cut in range(1, len(data)):
        assert outcome([data[:cut], data[cut:]]) == whole, cut


@pytest.mark.parametrize("seed", range(10))
def test_the_short_way_and_the_long_way_end_alike(seed: int) -> None:
    dice = random.Random(seed)
    stream = [dice.choice(MESSAGES) for _ in range(60)]
    data = b"".join(stream)
    pieces, rest = [], data
    while rest:
        size = dice.randrange(1, 80)
        pieces.append(rest[:size])
        rest = rest[size:]
    one_by_one = outcome(stream)
    assert outcome(pieces) == one_by_one
    assert outcome([data]) == one_by_one
    assert one_by_one[0] == sum(outcome([one])[0] for one in stream)


def test_while_a_client_is_stuck_only_the_newest_level_waits(connection: Connection, wire: Wire, desk: Desk) -> None:
    wire.stuck = True
    for level in range(10):
        connection.show(text_frame(str(level)))
    assert connection.blocked_s == 5.0
    assert wire.waiting == text_frame("0")
    wire.flow()
    assert connection.blocked_s == 0
    assert wire.written == text_frame("0") + text_frame("9")
    assert desk.got == ["turned", "turned"]
    assert holds_nothing(connection)


def test_a_welcome_is_never_followed_by_an_older_level(connection: Connection, wire: Wire) -> None:
    wire.stuck = True
    connection.show(b"a")
    connection.show(b"b")
    connection.send(b"welcome", shows=True)
    wire.flow()
    assert wire.written == b"a" + b"welcome"


def test_a_command_to_a_stuck_client_leaves_the_level_that_waits(connection: Connection, wire: Wire) -> None:
    wire.stuck = True
    connection.show(b"a")
    connection.show(b"b")
    connection.send(b"command")
    wire.flow()
    assert wire.written == b"a" + b"command" + b"b"


def test_what_waits_for_a_stuck_client_has_an_end(connection: Connection, wire: Wire, desk: Desk) -> None:
    wire.stuck = True
    for _ in range(10):
        connection.send(bytes(WAITING_BYTES // 4))
    assert desk.got == ["turned", "lost: too slow", "closing"]
    assert wire.waiting.endswith(close_frame(4008, "too slow"))
    assert wire.ended


def test_after_a_close_nothing_is_written_and_nothing_is_heard(connection: Connection, wire: Wire, desk: Desk) -> None:
    connection.close(4002, "x" * 500, Reason.REPLACED)
    assert wire.written == close_frame(4002, "x" * 500)
    assert len(wire.written) == 2 + 125
    assert desk.got == ["lost: replaced", "closing"]
    connection.send(b"more")
    connection.close(4008, "again", Reason.SLOW)
    connection.data_received(MESSAGES[0])
    connection.data_received(frame(CLOSE))
    connection.connection_lost(None)
    assert desk.got == ["lost: replaced", "closing", "left"]
    assert desk.keepalives == 0


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 65_535, 65_536])
def test_text_frames_are_as_the_rfc_says(length: int) -> None:
    assert text_frame("x" * length) == frame(TEXT, b"x" * length, mask=None)


async def test_frames_stay_whole_and_in_order_when_the_kernel_takes_only_a_part(desk: Desk) -> None:
    ours, theirs = socket.socketpair()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    loop = asyncio.get_running_loop()
    connection = Connection(desk, lambda _transport: ours)
    await loop.connect_accepted_socket(lambda: connection, ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    try:
        writer.write(request())
        await reader.readuntil(b"\r\n\r\n")
        sent = [bytes([number]) * 50_000 for number in range(1, 30)]
        for number, data in enumerate(sent):
            connection.show(data)
            if number == 5:
                assert connection.blocked_s, "a client that reads nothing must block in the end"
                assert connection.socket is NOWHERE, (
                    "what is sent past the transport would come in the middle of a frame"
                )
                assert desk.stuck == {connection}
            if number == 20:
                # What was begun and the newest that waited then have to come before what is shown next.
                connection.send(b"<sent>")
        got = b""
        while not got.endswith(sent[-1]):
            got += await asyncio.wait_for(reader.read(65_536), 60)
        whole, rest = [], got
        while rest:
            piece = b"<sent>" if rest.startswith(b"<sent>") else sent[rest[0] - 1]
            assert rest.startswith(piece), "a frame was torn"
            whole.append(piece)
            rest = rest.removeprefix(piece)
        numbers = [piece[0] for piece in whole if piece != b"<sent>"]
        assert numbers == sorted(set(numbers))
        assert len(numbers) < len(sent), "frames that had to wait were not left out"
        assert b"<sent>" in whole
        assert not desk.stuck
        assert connection.socket is ours
        connection.show(b"<after>")
        assert await asyncio.wait_for(reader.readexactly(7), 60) == b"<after>"
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_connection_that_ended_sends_to_no_socket(desk: Desk) -> None:
    ours, theirs = socket.socketpair()
    connection = Connection(desk, lambda _transport: ours)
    await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
    with theirs:
        assert connection.socket is ours
        connection.abort()
        await wait_until(lambda: "left" in desk.got)
        assert connection.socket is NOWHERE


async def test_a_client_that_has_just_gone_when_it_is_closed_ends_only_itself(desk: Desk) -> None:
    loop = asyncio.get_running_loop()
    opened = Connection(desk)
    server = await loop.create_server(lambda: opened, "127.0.0.1", 0)
    with socket.create_connection(server.sockets[0].getsockname()) as client:
        client.sendall(request())
        await wait_until(lambda: opened.peer is desk)
        assert client.recv(4_096).startswith(b"HTTP/1.1 101 ")
    # The loop has not looked yet; the kernel takes the close frame, learns that nobody is there, and cannot shut down.
    opened.close(4002, "another one is here", Reason.REPLACED)
    assert desk.got[-1] == "closing"
    await wait_until(lambda: "left" in desk.got)
    server.close()

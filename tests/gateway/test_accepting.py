"""Accepted sockets: the right one for each transport, and none where there is none."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Iterator

import pytest

from espfleet.gateway.accepting import NOWHERE, Listener, no_socket
from tests.conftest import wait_until


@pytest.fixture
def listener() -> Iterator[Listener]:
    with Listener(socket.AF_INET, socket.SOCK_STREAM, 0) as made:
        made.bind(("127.0.0.1", 0))
        made.setblocking(False)
        made.listen()
        yield made


class Client(asyncio.Protocol):
    """Sends a number through the socket of its transport, whatever the transport is."""

    def __init__(self, listener: Listener, number: int) -> None:
        self.listener = listener
        self.number = number
        self.socket = NOWHERE
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.socket = self.listener.socket_of(transport)
        self.socket.send(b"%03d" % self.number)
        self.again = self.listener.socket_of(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True


async def test_each_transport_finds_its_own_socket_once(listener: Listener) -> None:
    made: list[Client] = []

    def client() -> Client:
        made.append(Client(listener, len(made)))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(client, sock=listener)
    others = [socket.create_connection(listener.getsockname()) for _ in range(20)]
    await wait_until(lambda: len(made) == 20 and made[-1].socket is not NOWHERE)
    try:
        told = {}
        for other in others:
            told[other.getsockname()] = int(await asyncio.to_thread(other.recv, 3))
        assert sorted(told.values()) == list(range(20))
        for one in made:
            assert told[one.socket.getpeername()] == one.number
            assert one.again is NOWHERE
    finally:
        for other in others:
            other.close()
        await wait_until(lambda: all(one.is_lost for one in made))
        server.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        made[0].socket.send(b"more")


async def test_what_was_accepted_for_no_transport_is_closed(listener: Listener) -> None:
    with socket.create_connection(listener.getsockname()) as other:
        accepted, _ = listener.accept()
        assert len(listener._accepted) == 1
        accepted.close()
        del accepted
        gc.collect()
        assert len(listener._accepted) == 0
        assert other.recv(1) == b""


def test_who_gave_up_while_waiting_is_not_accepted(listener: Listener) -> None:
    def come() -> socket.socket:
        other = socket.create_connection(listener.getsockname())
        other.send(b"GET / HTTP/1.1\r\n\r\n")
        return other

    for _ in range(3):
        come().close()
    with come() as waiting:
        # The kernel counts for how long nothing came.
        time.sleep(1.1)
        with come() as quick:
            quick.shutdown(socket.SHUT_WR)
            first, address = listener.accept()
            assert address == waiting.getsockname()
            # Who asks and closes at once still gets its answer.
            second, address = listener.accept()
            assert address == quick.getsockname()
            first.close()
            second.close()
    come().close()
    time.sleep(1.1)
    with pytest.raises(BlockingIOError):
        listener.accept()


def test_nothing_can_be_sent_nowhere() -> None:
    assert no_socket(asyncio.Transport()) is NOWHERE
    with pytest.raises(OSError, match="Bad file descriptor"):
        NOWHERE.send(b"a")

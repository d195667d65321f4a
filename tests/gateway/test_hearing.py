"""Lamps that have settled are read past asyncio: whatever they say or do then has the same effect."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from espfleet.domain.messages import KEEPALIVE
from espfleet.gateway import hearing
from espfleet.gateway.accepting import Listener
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import text_frame
from espfleet.gateway.hearing import READ_BYTES
from tests.conftest import wait_until
from tests.gateway.raw import BINARY, CLOSE, PING, PONG, TEXT, frame, request
from tests.gateway.test_connection import Desk

ALIVE = frame(TEXT, KEEPALIVE.encode())


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    assert len(made.hearing) == 0
    made.hearing.close()


@asynccontextmanager
async def lamps(desk: Desk, count: int) -> AsyncIterator[tuple[list[Connection], list[socket.socket]]]:
    """Connect lamps that have settled; yield the connections, and their other ends."""
    made: list[Connection] = []
    with Listener(socket.AF_INET, socket.SOCK_STREAM, 0) as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.setblocking(False)
        listener.listen(100)

        def connect() -> Connection:
            made.append(Connection(desk, listener.socket_of))
            return made[-1]

        server = await asyncio.get_running_loop().create_server(connect, sock=listener)
        others = []
        for number in range(count):
            other = stack.enter_context(socket.create_connection(listener.getsockname()))
            other.sendall(request())
            await wait_until(lambda so_many=number: len(made) > so_many and made[-1].peer is desk)  # type: ignore[misc]
            other.sendall(ALIVE)
            other.settimeout(10)
            others.append(other)
        await wait_until(lambda: desk.keepalives == count)
        assert len(desk.hearing) == count
        assert not any(one._transport.is_reading() for one in made)
        for other in others:
            assert b"101 Switching" in await asyncio.to_thread(other.recv, 4_096)
        try:
            yield made, others
        finally:
            stack.close()
            await wait_until(lambda: desk.got.count("left") == count)
            server.close()


async def test_many_are_heard_in_whatever_pieces_they_speak(desk: Desk) -> None:
    desk.most_bytes = 10 * READ_BYTES
    async with lamps(desk, 20) as (made, others):
        for other in others:
            other.sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 40)
        for other in others:
            other.sendall(ALIVE[:9])
        await wait_until(lambda: all(one._rare is not None for one in made))
        for other in others:
            other.sendall(ALIVE[9:] + frame(TEXT, b"more") + ALIVE)
        await wait_until(lambda: desk.keepalives == 80)
        assert desk.got.count("more") == 20
        # More than is read at once.
        others[0].sendall(frame(BINARY, bytes(3 * READ_BYTES)) + frame(PING, b"hi"))
        await wait_until(lambda: f"binary {3 * READ_BYTES}" in desk.got)
        assert await asyncio.to_thread(others[0].recv, 100) == bytes((0x80 | PONG, 2)) + b"hi"
        made[3].send(text_frame("level"))
        assert await asyncio.to_thread(others[3].recv, 100) == text_frame("level")


async def test_what_is_said_within_moments_is_read_together_and_keeps_nothing_else_waiting(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "MANY", 20)
    async with lamps(desk, 20) as (_, others):
        monkeypatch.setattr(hearing, "REST_S", 0.3)
        others[0].sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 21)
        counts = set()
        for other in others:
            other.sendall(ALIVE)
            # A turn of the loop; whatever else is due has it.
            await asyncio.sleep(0)
            counts.add(desk.keepalives)
        await wait_until(lambda: counts.add(desk.keepalives) or desk.keepalives == 41)
        assert counts == {21, 41}
        # Those few who stay are heard at once again.
        for other in others[:15]:
            other.close()
        await wait_until(lambda: desk.got.count("left") == 15)
        await wait_until(lambda: desk.hearing._rest is None)
        monkeypatch.setattr(hearing, "REST_S", 60.0)
        others[15].sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 42)


async def test_who_says_goodbye_is_answered_and_gone(desk: Desk) -> None:
    async with lamps(desk, 2) as (made, others):
        others[0].sendall(frame(CLOSE, struct.pack("!H", 1000)))
        assert (await asyncio.to_thread(others[0].recv, 100))[0] == 0x80 | CLOSE
        others[0].close()
        await wait_until(lambda: desk.got.count("left") == 1)
        assert len(desk.hearing) == 1
        assert made[1]._transport.is_closing() is False


@pytest.mark.parametrize("linger", [False, True], ids=["by a FIN", "by a RST"])
async def test_who_goes_without_a_word_is_gone_at_once(desk: Desk, linger: bool) -> None:
    async with lamps(desk, 3) as (_, others):
        if linger:
            others[1].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        others[1].close()
        await wait_until(lambda: desk.got.count("left") == 1)
        for other in (others[0], others[2]):
            other.sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 5)
        assert len(desk.hearing) == 2


async def test_who_is_cut_says_nothing_more(desk: Desk) -> None:
    async with lamps(desk, 2) as (made, others):
        others[0].sendall(ALIVE)
        made[0].abort()
        await wait_until(lambda: desk.got.count("left") == 1)
        others[1].sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 3)


async def test_a_defect_that_one_meets_ends_its_connection_and_is_told(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))

    def text(said: str) -> None:
        desk.got.append(said)
        raise ZeroDivisionError

    async with lamps(desk, 3) as (_, others):
        monkeypatch.setattr(desk, "text", text)
        for other in (others[1], others[0], others[2]):
            other.sendall(frame(TEXT, b"odd") if other is others[1] else ALIVE)
        await wait_until(lambda: desk.got.count("left") == 1 and desk.keepalives == 5)
    assert [type(context["exception"]) for context in told] == [ZeroDivisionError]


async def test_a_file_number_that_comes_again_belongs_to_the_one_who_has_it_now(desk: Desk) -> None:
    async with lamps(desk, 1) as (_, (other,)):
        other.close()
        await wait_until(lambda: desk.got.count("left") == 1)
    desk.keepalives, desk.got = 0, []
    async with lamps(desk, 1) as (made, (other,)):
        other.sendall(ALIVE)
        await wait_until(lambda: desk.keepalives == 2)
        assert made[0].taken == 2

"""Clients that a lamp must not mind: slow ones, silent ones, mad ones, and very many."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random
from statistics import median

import pytest

from tests.conftest import wait_until
from tests.firmware.boards import Board
from tests.firmware.pages import PATIENCE_S, Pages, hang_up
from tests.firmware.test_endurance import SCRIPT, SLACK_BYTES, looks
from tests.firmware.together import Boards, together

HEAD = b"GET /state HTTP/1.1\r\nHost: 127.0.0.1\r\n"


@asynccontextmanager
async def watched(boards: Boards) -> AsyncIterator[Pages]:
    """Run a lamp that tells its memory, files and frames; it may not restart."""
    board = boards(SCRIPT, token="", gateway="ws://127.0.0.1:9")
    board.power_on()
    lamp = await Pages(board).ready()
    yield lamp
    assert board.starts == 1, "it crashed"
    assert (await lamp.get("/state")).status == 200


@asynccontextmanager
async def silent(lamp: Pages, count: int, data: bytes = b"") -> AsyncIterator[list[StreamWriter]]:
    """Connect so often, send something, and wait."""
    writers = []
    try:
        for _ in range(count):
            _, writer = await lamp.connect()
            writer.write(data)
            writers.append(writer)
        yield writers
    finally:
        for writer in writers:
            await hang_up(writer)


def only_its_own(board: Board) -> bool:
    """Tell whether the one socket that it has open is the one it listens at, at most with that to its gateway."""
    return len([file for file in board.files() if file.startswith("socket:")]) <= 2


@together
async def test_those_who_say_nothing_make_way_for_those_who_ask(boards: Boards) -> None:
    async with watched(boards) as lamp, silent(lamp, 8):
        async with asyncio.timeout(PATIENCE_S):
            for _ in range(5):
                assert (await lamp.get("/state")).status == 200
        await wait_until(lambda: only_its_own(lamp.board), PATIENCE_S)


async def test_the_light_moves_while_clients_hang_on_the_line(boards: Boards) -> None:
    async def drip(lamp: Pages) -> None:
        """Send a request one byte at a time, for ever."""
        while True:
            _, writer = await lamp.connect()
            try:
                for byte in HEAD * 10:
                    writer.write(bytes([byte]))
                    await writer.drain()
                    await asyncio.sleep(0.05)
            except ConnectionError:
                # As it should be.
                continue
            finally:
                await hang_up(writer)

    async def light(lamp: Pages) -> tuple[float, float]:
        """Return frames in a fifth of a second, and the longest ms between two but for one in a hundred."""
        begin = len(looks(lamp.board))
        await wait_until(lambda: len(looks(lamp.board)) >= begin + 10, PATIENCE_S)
        seen = looks(lamp.board)[begin:]
        return median(look.frames for look in seen), median(look.p99_ms for look in seen)

    async with watched(boards) as lamp:
        # What this machine has left for a lamp just now: other tests want something too.
        frames, gap_ms = await light(lamp)
        async with silent(lamp, 8), silent(lamp, 4, HEAD):
            dripping = asyncio.create_task(drip(lamp))
            try:
                frames_then, gap_then_ms = await light(lamp)
            finally:
                dripping.cancel()
                await asyncio.gather(dripping, return_exceptions=True)
        assert frames_then >= min(6, 0.7 * frames), "less than 30 frames a second"
        assert gap_then_ms <= max(50, 4 * gap_ms)


@together
async def test_who_is_too_slow_is_told_so_and_hung_up_on(boards: Boards) -> None:
    async with watched(boards) as lamp:
        late = await lamp.raw(HEAD)
        assert late is not None
        assert (late.status, late.error) == (408, "the request did not arrive in time")


@together
async def test_half_a_request_is_refused(boards: Boards) -> None:
    async with watched(boards) as lamp:
        for data, sentence in (
            (HEAD, "the request ends in its head"),
            (
                b"POST /level HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 20\r\n\r\n{",
                "the body is shorter than its Content-Length",
            ),
        ):
            reader, writer = await lamp.connect()
            writer.write(data)
            writer.write_eof()
            told = await asyncio.wait_for(reader.read(-1), PATIENCE_S)
            assert told.startswith(b"HTTP/1.1 400 ")
            assert sentence.encode() in told
            await hang_up(writer)


@together
async def test_who_goes_away_in_the_middle_is_forgotten(boards: Boards) -> None:
    async with watched(boards) as lamp:
        for data in (b"", b"G", HEAD, HEAD + b"\r\n", b"GET /ui HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") * 6:
            _, writer = await lamp.connect()
            writer.write(data)
            await asyncio.sleep(0.01)
            await hang_up(writer)
        await wait_until(lambda: only_its_own(lamp.board), PATIENCE_S)


@together
async def test_nonsense_is_answered_or_ignored_but_never_kept(boards: Boards) -> None:
    random = Random(9)
    async with watched(boards) as lamp:
        for size in (1, 7, 100, 2_047, 2_049, 5_000, 100_000):
            for data in (random.randbytes(size), b"GET /" + random.randbytes(size), HEAD + random.randbytes(size)):
                with contextlib.suppress(TimeoutError):
                    found = await asyncio.wait_for(lamp.raw(data), 0.5)
                    assert found is None or 400 <= found.status < 600
        await wait_until(lambda: only_its_own(lamp.board), PATIENCE_S)


@together
async def test_fifty_clients_at_once_are_answered_in_turn_or_wait(boards: Boards) -> None:
    async with watched(boards) as lamp:
        paths = ("/", "/ui", "/state", "/settings", "/nothing")

        async def one(number: int) -> int | None:
            asked = f"GET {paths[number % 5]} HTTP/1.1\r\nHost: {lamp.host}\r\n\r\n"
            with contextlib.suppress(TimeoutError):
                found = await asyncio.wait_for(lamp.raw(asked.encode()), 5)
                return found.status if found else None
            # The network drops who does not fit into the queue; their next try would come too late for this test.
            return None

        found = await asyncio.gather(*(one(number) for number in range(50)))
        assert set(found) <= {200, 404, 408, 503, None}
        assert len([status for status in found if status in (200, 404)]) >= 10
        assert max(look.files for look in looks(lamp.board)) <= 12


@together
async def test_heads_and_bodies_as_large_as_they_may_be_do_not_bring_it_down(boards: Boards) -> None:
    async with watched(boards) as lamp:
        padding = "y" * 1_900
        body = b'{"level": 50, "what": "' + b"z" * 1_900 + b'"}'
        for _ in range(3):
            async with silent(lamp, 3, HEAD + padding.encode()):
                answer = await lamp.ask("POST", "/level", body, Content_Type="application/json", X=padding[:1_700])
                # With so little memory, it may say so.
                assert answer.status in (200, 503)
                assert (await lamp.get("/ui")).status in (200, 503)
        answer = await lamp.ask("POST", "/level", body, Content_Type="application/json", X=padding[:1_700])
        assert answer.status == 200


@together
async def test_ctrl_c_hangs_up_on_everybody(boards: Boards) -> None:
    board = boards(token="")
    board.power_on()
    lamp = await Pages(board).ready()
    async with silent(lamp, 6, HEAD):
        board.interrupt()
        await board.line("The lamp is off")
        await wait_until(lambda: board.exit_code == 0)


@together
async def test_it_starts_again_although_clients_hang_on_the_line(boards: Boards) -> None:
    board = boards(token="")
    board.power_on()
    lamp = await Pages(board).ready()
    async with silent(lamp, 3, HEAD):
        await lamp.done("/reboot")
        await board.line("@reset", timeout_s=PATIENCE_S)


@pytest.mark.slow
@together
async def test_three_hundred_requests_leave_nothing_behind(boards: Boards) -> None:
    async with watched(boards) as lamp:

        async def some(count: int) -> None:
            statuses = []
            for number in range(count):
                path = ("/", "/ui", "/state", "/settings", "/nothing")[number % 5]
                statuses.append((await lamp.get(path)).status)
                statuses.append((await lamp.post("/level", level=number % 101)).status)
                statuses.append((await lamp.post("/gpio", pin=6, value=1)).status)
            assert set(statuses) <= {200, 400, 404, 503}
            # Now and then the link needs the memory at the same time, and a lamp may say so.
            assert statuses.count(503) <= len(statuses) // 20

        async def heap() -> float:
            """Return the middle of what is in use, of several looks from now on."""
            begin = len(looks(lamp.board))
            await wait_until(lambda: len(looks(lamp.board)) >= begin + 6, PATIENCE_S)
            return median(look.heap for look in looks(lamp.board)[begin + 1 :])

        # What it learns the first time, names above all, it keeps.
        await some(10)
        before = await heap()
        await some(100)
        assert await heap() - before < SLACK_BYTES
        assert only_its_own(lamp.board)


@together
async def test_the_page_goes_to_as_many_as_may_connect(boards: Boards) -> None:
    async with watched(boards) as lamp:
        for _ in range(5):
            found = await asyncio.gather(*(lamp.get("/ui") for _ in range(4)))
            assert {answer.status for answer in found} == {200}

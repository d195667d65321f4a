"""What a lamp stands for years: its memory stays flat, no socket is lost, and the light never waits."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from espfleet.domain.closing import restart_reason
from tests.conftest import wait_until
from tests.firmware.boards import HERE, Board
from tests.firmware.servers import CLOSE, TEXT, Peer, frame, serving
from tests.firmware.together import Boards

MESSAGES = 100_000
RECONNECTS = 1_000
#: For all of these, on a machine that has much else to do.
PATIENCE_S = 150
#: What is borrowed for one connection, and garbage that is still held by chance, in a heap of twice a chip's word size:
#: half of the messages or of the connections would leave more than that, were it 16 bytes each.
SLACK_BYTES = 6_500
SCRIPT = HERE / "scripts" / "endure.py"


@dataclass(frozen=True)
class Look:
    """How a lamp was at one moment: memory in use, open files, frames in a fifth of a second, and their gaps."""

    heap: int
    files: int
    frames: int
    p99_ms: int
    most_ms: int


def looks(board: Board) -> list[Look]:
    lines = [line.split() for line in board.lines if line.startswith("@look ")]
    return [Look(*map(int, words[1:6])) for words in lines]


def flat(board: Board) -> None:
    """Expect that a lamp holds no more at the end than soon after its start.

    Many looks catch something on its way: a message, or what is borrowed for a new connection. What is never given back
    is in every look, so the lowest of many are compared.
    """
    seen = looks(board)[2:]
    assert len(seen) >= 4, "it was over before it began"
    middle = len(seen) // 2
    early, late = [min(one.heap for one in half) for half in (seen[:middle], seen[middle:])]
    assert late - early < SLACK_BYTES, seen
    assert max(one.files for one in seen) - min(one.files for one in seen) <= 1


async def flood(boards: Boards) -> None:
    """A gateway that sends as fast as it can."""
    done = asyncio.Event()

    async def identify(peer: Peer, command: str) -> None:
        await peer.say({"type": "command", "id": command, "action": "identify", "arguments": {}, "expires_ms": 5_000})
        assert (await peer.hear("result"))["ok"] is True

    async def server(peer: Peer) -> None:
        await peer.welcome()
        # What it learns to do this, names above all, it keeps.
        await identify(peer, "first")
        seq = 0
        while seq < MESSAGES:
            batch = b""
            for _ in range(100):
                seq += 1
                text = f'{{"type":"level","level":{seq % 101},"state":"ok","seq":{seq},"lease_ms":1500}}'
                batch += frame(TEXT, text.encode())
            await peer.send(batch)
        await identify(peer, "last")
        await asyncio.sleep(1)
        done.set()
        await peer.levels(0)

    async with serving(server) as gateway:
        board = boards(SCRIPT, gateway=gateway.url)
        board.power_on()
        await asyncio.wait_for(done.wait(), PATIENCE_S)
        assert gateway.connections == 1
        flat(board)


async def reconnects(boards: Boards) -> None:
    """A gateway that lets everybody in and sends them away at once."""

    async def server(peer: Peer) -> None:
        await peer.welcome()
        await peer.send(frame(CLOSE, b"\x03\xf4" + restart_reason(0).encode()))
        await peer.gone()

    async with serving(server) as gateway:
        board = boards(SCRIPT, gateway=gateway.url)
        board.power_on()
        await wait_until(lambda: gateway.connections >= RECONNECTS, PATIENCE_S)
        flat(board)


async def dead_networks(boards: Boards) -> None:
    """Networks that take every packet and answer none."""

    async def never(_peer: Peer) -> None:
        await asyncio.sleep(60)

    async def one(**settings: object) -> None:
        board = boards(SCRIPT, **settings)
        board.power_on()
        await wait_until(lambda: len(looks(board)) >= 20, PATIENCE_S)
        seen = looks(board)[1:]
        assert sorted(look.frames for look in seen)[len(seen) // 2] >= 6, "less than 30 frames a second"
        assert sorted(look.p99_ms for look in seen)[len(seen) // 2] <= 50, seen
        board.interrupt()
        await wait_until(lambda: board.exit_code is not None)

    async with serving(never) as gateway:
        await asyncio.gather(
            one(gateway=gateway.url),
            one(gateway=gateway.url.replace("ws:", "wss:")),
            one(gateway="ws://127.0.0.1:9"),
            one(gateway="ws://gateway.example", dns="127.0.0.1:9"),
        )


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_memory_and_sockets_stay_as_they_are(boards: Boards) -> None:
    await asyncio.gather(flood(boards), reconnects(boards))


@pytest.mark.timeout(200)
async def test_the_light_moves_while_the_network_is_dead(boards: Boards) -> None:
    await dead_networks(boards)

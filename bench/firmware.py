"""The lamp's program under MicroPython for this machine: speed, memory, size, and how soon it is back.

What a chip does in its own time (radio, TLS, a slower processor) is not measured here. Heap is told on the scale of a
chip: this machine's words are twice as long, so half of what is in use here.
"""

from __future__ import annotations

import asyncio
import importlib.util
import random
import tempfile
import time
from pathlib import Path

from bench.report import report
from esp32 import build
from tests.firmware.boards import HERE, Board, Firmware
from tests.firmware.pages import Pages
from tests.firmware.servers import TEXT, Handler, Peer, frame, serving

CAP_S = 240

SEED = 1
dice = random.Random(SEED)
ROUNDS = 5
MESSAGES = 20_000
PEER = "async_websocket_client"
PEERS_MESSAGES = 100
#: Bytes of a word here, over those of a word on a chip.
SCALE = 2
WEIGHINGS = 10
LOOKS = 40
RETURNS = 9
OUTAGE_S = (1.0, 3.0)


def main() -> None:
    """Measure everything that is promised about the firmware."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(measure(Path(folder)))


async def measure(folder: Path) -> None:
    firmware = Firmware(folder / "build")
    build.build(firmware.folder)
    for source in (build.SOURCE / "fakes").glob("*.py"):
        build.compiled(source, firmware.folder / "fakes" / f"{source.stem}.mpy")
    report(
        "size of the lamp's program, all .mpy",
        [sum(path.stat().st_size for path in (firmware.folder / "lamp").rglob("*.mpy")) / 1_000],
        bound="ours <= 60",
        unit="kB",
    )
    await messages(firmware)
    await heap(firmware, folder)
    await frames(firmware, folder)
    await back(firmware, folder)


async def messages(firmware: Firmware) -> None:
    """Messages a second through the client, beside the one that others use."""
    # Found, not imported: it is MicroPython's.
    spec = importlib.util.find_spec(PEER)
    if spec is None or spec.submodule_search_locations is None:
        raise SystemExit(f"{PEER} is not installed: ./espcli setup --dev")
    build.compiled(Path(spec.submodule_search_locations[0]) / "ws.py", firmware.folder / PEER / "ws.mpy")
    ours, theirs = [], []
    async with serving(endless) as server:
        for _ in range(ROUNDS):
            for figures, count, whose in ((ours, MESSAGES, "ours"), (theirs, PEERS_MESSAGES, "theirs")):
                out = await firmware.run("receive.py", server.url, count, whose, folder=firmware.folder)
                figures.append(float(out))
    report(
        "messages a second through the lamp's WebSocket client",
        ours,
        theirs,
        peer_name="micropython-async-websocket-client 0.3.4",
        bound="ratio >= 20",
        unit="1/s",
    )


async def endless(peer: Peer) -> None:
    """Send levels as fast as they are taken."""
    await peer.upgrade()
    batch = frame(TEXT, b'{"type":"level","level":37,"state":"ok","seq":42,"lease_ms":1500}') * 100
    while True:
        await peer.send(batch)


async def good(peer: Peer) -> None:
    """Be a gateway."""
    await peer.welcome()
    await peer.levels(37)


async def dead(_peer: Peer) -> None:
    """Take a connection and never answer."""
    await asyncio.sleep(3_600)


async def lines(board: Board, beginning: str, count: int, timeout_s: float = 60.0) -> list[list[str]]:
    """Return so many lines that begin so, in words, as soon as there are as many."""
    async with asyncio.timeout(timeout_s):
        while True:
            found = [line.split() for line in board.lines if line.startswith(beginning)]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)


async def told_by(
    firmware: Firmware, folder: Path, script: str, handler: Handler, count: int, word: str
) -> list[list[str]]:
    """Run a lamp against a gateway until it has told ``word`` so often; return those lines in words."""
    async with serving(handler) as server:
        board = Board(firmware, folder / f"board-{time.monotonic_ns()}", HERE / "scripts" / script)
        board.set(gateway=server.url)
        board.power_on()
        try:
            return await lines(board, word, count)
        finally:
            await board.power_off()


async def heap(firmware: Firmware, folder: Path) -> None:
    """Heap in use while connected, the largest of what was seen once all of its pages had been asked for.

    What it learns from the first request, names above all, it keeps.
    """
    weights = []
    for number in range(ROUNDS):
        async with serving(good) as server:
            board = Board(firmware, folder / f"heap-{number}", HERE / "scripts" / "weigh.py")
            board.set(gateway=server.url)
            board.power_on()
            try:
                await lines(board, "@weight ", 1)
                pages = await Pages(board, "secret").ready()
                for path in ("/", "/ui", "/state", "/settings"):
                    await pages.get(path)
                for path in ("/gpio", "/adc", "/dht22", "/level", "/identify", "/settings", "/provision"):
                    await pages.form(path, pin=25, value=1, read_pin=34, level=50, token="secret")
                asked = len(await lines(board, "@weight ", 1))
                told = await lines(board, "@weight ", asked + WEIGHINGS)
            finally:
                await board.power_off()
        weights.append(max(int(words[1]) for words in told[asked + 1 :]) / SCALE / 1_000)
    report("steady heap of the whole firmware", weights, bound="ours <= 45", unit="kB of a chip")


async def frames(firmware: Firmware, folder: Path) -> None:
    """Time from one frame of the light to the next while the gateway does not answer."""
    slow = []
    for _ in range(3):
        told = await told_by(firmware, folder, "endure.py", dead, LOOKS, "@look ")
        # Each look has the longest gap of a fifth of a second: this is more than the 99th part of all frames.
        longest = sorted(int(words[5]) for words in told[2:])
        slow.append(float(longest[len(longest) * 99 // 100 - 1]))
    report("time of a frame while the link reconnects, p99", slow, bound="ours <= 50", unit="ms")


async def back(firmware: Firmware, folder: Path) -> None:
    """From a gateway that listens again to a lamp that shows a fresh level."""
    board = Board(firmware, folder / "back")
    times = []
    async with serving(good) as server:
        port = server.port
        board.set(gateway=server.url)
        board.power_on()
        await board.line("light: level")
    try:
        for _ in range(RETURNS):
            await asyncio.sleep(dice.uniform(*OUTAGE_S))
            began = time.monotonic()
            async with serving(good, port=port):
                await board.line("link: connected", board.at, 30)
                times.append(time.monotonic() - began)
                await asyncio.sleep(0.5)
    finally:
        await board.power_off()
    report("gateway back after a crash, one lamp fresh again", times, bound="ours <= 3", unit="s")


if __name__ == "__main__":
    main()

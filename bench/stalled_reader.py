"""One client among 1,000 lamps stops reading: do the others hear of a change any later?

The gateway is ``run gateway`` with the settings that users have. Each lamp sends a keepalive a second. The one that
does not read is a lamp, or a viewer who watches everything; its window is small, and it is full before anything is
measured: whatever is sent to it then waits at the gateway. Runs with it and without it take turns, over the same
gateway and the same lamps.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import socket
import struct
import tempfile
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from bench.gateway import REQUEST, allow_files, masked
from bench.peers import servers
from bench.peers.lamps import Lamps, lamps
from bench.reply_to_lamp import wait_for_port
from bench.report import not_measured, report
from bench.stage import Stage, gateway, stage
from espfleet.domain.messages import KEEPALIVE
from tests.ports import free_port

CAP_S = 420.0

LAMPS = 1_000
RUNS = 20
CHANGES = 40
CHANGE_S = 0.04
#: Changes that fill what the kernel holds for one who does not read, and what one has room for itself, bytes.
FILLING = 70
FILLING_S = 0.006
KEEPALIVE_EVERY = 20
WINDOW_BYTES = 2_304
#: Less than that many changes need: so much is read at most by one who reads nothing.
MOST_BYTES = 9_000
BOUND = "ratio <= 1.1"
WATCH = json.dumps({"type": "watch", "rooms": "*"})
PROMISE = "a change to 1,000 lamps, 99 of 100 have it, while {} does not read"
KINDS = {"lamp": PROMISE.format("another lamp"), "viewer": PROMISE.format("a viewer of everything")}


def main() -> None:
    """Measure and report."""
    allow_files()
    lack = servers.missing("gcc")
    for kind, promise in KINDS.items():
        if lack:
            not_measured(promise, bound=BOUND, unit="ms", peer_name="all read", reason=lack)
            continue
        stalled, free = asyncio.run(one_series(kind))
        report(promise, stalled, free, peer_name="all read", unit="ms", bound=BOUND)


async def one_series(kind: str) -> tuple[list[float], list[float]]:
    """Return what 99 of 100 lamps wait for a change in each run, ms: with one that does not read, and without."""
    port = free_port()
    stalled: list[float] = []
    free: list[float] = []
    async with stage(LAMPS + 1) as ready:
        with (
            tempfile.TemporaryDirectory(prefix="ef") as folder,
            gateway(ready.url, port) as process,
            lamps(Path(folder), port, ready.hellos[:LAMPS]) as crowd,
        ):
            await asyncio.to_thread(wait_for_port, port)
            servers.pin(process.pid, 0)
            servers.pin(crowd.pid, 1)
            opened = await crowd.asked("connect 200")
            assert opened["open"] == LAMPS, opened
            await one_run(ready, crowd, port, "")
            for number in range(RUNS):
                # Each comes first as often as the other.
                for who in ("", kind) if number % 2 else (kind, ""):
                    (stalled if who else free).append(await one_run(ready, crowd, port, who))
    return stalled, free


async def one_run(ready: Stage, crowd: Lamps, port: int, kind: str) -> float:
    """Change the level some times, and return what 99 of 100 lamps wait in the median change, ms."""
    hello = {"lamp": ready.hellos[LAMPS], "viewer": WATCH}.get(kind, "")
    path = "/watch" if kind == "viewer" else "/lamp"
    with stalling(port, path, hello) if kind else nullcontext() as reader:
        living_ms = round((FILLING * FILLING_S + CHANGES * CHANGE_S) * 1_000 + 1_000)
        living = asyncio.create_task(crowd.asked(f"live 1000 {living_ms}"))
        for number in range(FILLING):
            await ready.publish(number)
            await asyncio.sleep(FILLING_S)
        await asyncio.sleep(0.2)
        marks = []
        for number in range(CHANGES):
            if reader is not None and kind == "lamp" and not number % KEEPALIVE_EVERY:
                # Else it would be late, and be sent nothing.
                reader.sendall(masked(KEEPALIVE))
            at_ns = time.monotonic_ns()
            marks.append((await ready.publish(number), at_ns))
            await asyncio.sleep(CHANGE_S)
        lived = await living
        assert lived["open"] == LAMPS, lived
        if reader is not None:
            held = struct.unpack("i", fcntl.ioctl(reader, termios.FIONREAD, bytes(4)))[0]
            assert 0 < held < MOST_BYTES, f"one who reads nothing has got {held} bytes"
    for seq, at_ns in marks:
        crowd.tell(f"mark {seq} {at_ns}")
    told = await crowd.asked("report 100")
    assert told["changes"], told
    return float(told["p99_ms"])


@contextmanager
def stalling(port: int, path: str, hello: str) -> Iterator[socket.socket]:
    """Be a client that says hello and reads nothing."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW_BYTES)
        client.connect(("127.0.0.1", port))
        client.sendall(REQUEST.format(path=path).encode())
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 101 "), head
        client.sendall(masked(hello))
        yield client


if __name__ == "__main__":
    main()

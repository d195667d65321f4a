"""What boards cost: visits to 1,000 simulated ones by one steward, locks beside redis-py's, resets, metrics.

Simulated boards run in a process of their own; CPU is that of the keeper's process alone, in share of one core.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench.report import report
from espfleet.domain.devices import Device, Kind
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.domain.names import SIMULATED
from espfleet.domain.points import Point
from espfleet.exports.datadog import Datadog
from espfleet.services import jobs, simulated
from espfleet.simulator.boards import BoardSimulator, new_boards
from espfleet.store import locks, points
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.workers.keeper import Keeper
from espfleet.workers.sender import Sender

CAP_S = 240
BOARDS = 1_000
JOBS = 200
INTERVAL_S = 5.0
MEASURED_S = 10
POLLING_RUNS, RESET_RUNS = 3, 3
WARM_S = 8
RESETS = 4
SEED = 42
DEVICE = "3c71bff93720"
ROUNDS, CYCLES = 15, 200
WAITERS, CROWDS = 50, 3
POINTS, POINT_ROUNDS = 20_000, 5


async def serve(count: int) -> None:
    """Tell the addresses of boards on a line and serve them until stdin ends."""
    simulator = BoardSimulator(new_boards(count, seed=SEED))
    running = asyncio.create_task(simulator.run())
    started = asyncio.create_task(simulator.started.wait())
    await asyncio.wait({running, started}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    print(json.dumps([board.address for board in simulator.boards.values()]), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    running.cancel()


class Sink(BaseHTTPRequestHandler):
    """Accepts whatever is sent, as Datadog does."""

    def do_POST(self) -> None:
        """Read it and answer 202."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def sink() -> None:
    """Accept metrics until stdin ends."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        sys.stdin.read()


async def sending(store: Store, port: int) -> list[float]:
    """Return points a second, from a list in memory through the outbox to the sink, a figure a round."""
    sender = Sender(store, Datadog(url=f"http://127.0.0.1:{port}", api_key="bench").post)
    figures = []
    for number in range(POINT_ROUNDS + 1):
        at_s = int(time.time())
        made = [Point("esp32.f", float(one), at_s, (f"name:board-{one}",)) for one in range(POINTS)]
        before, began_s = sender.sent, time.perf_counter()
        await points.append(store, made)
        while await sender.step():
            pass
        assert sender.sent - before == POINTS
        if number:
            figures.append(POINTS / (time.perf_counter() - began_s))
    return figures


async def enlist(store: Store, addresses: Sequence[str]) -> list[str]:
    """Register all boards."""
    boards = new_boards(len(addresses), seed=SEED)
    await simulated.enlist(
        store,
        [
            Device(id=board.id, name=f"board-{number}", address=address, kinds=(Kind.BOARD,), labels=(SIMULATED,))
            for number, (board, address) in enumerate(zip(boards, addresses, strict=True))
        ],
    )
    return [board.id for board in boards]


def cpu_s() -> float:
    """Return the CPU time of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def polling(store: Store, ids: list[str]) -> list[tuple[float, float]]:
    """Return CPU in share of a core and lateness p99 in ms, for each run."""
    for number in range(JOBS):
        job = Job(device_id=ids[number], name="lit", pin=22, kind=JobKind.TIMER, duration_s=DAY_S)
        await jobs.add(store, job)
    keeper = Keeper(store, "bench", interval_s=INTERVAL_S)

    async def run() -> None:
        while True:
            await keeper.step()
            await asyncio.sleep(0.02)

    running = asyncio.create_task(run())
    await asyncio.sleep(WARM_S)
    runs = []
    for _ in range(POLLING_RUNS):
        keeper._lateness_ms.clear()
        began_s, began_cpu_s, before = time.monotonic(), cpu_s(), keeper.visits
        await asyncio.sleep(MEASURED_S)
        took_s = time.monotonic() - began_s
        runs.append(((cpu_s() - began_cpu_s) / took_s, keeper.figures()["late_p99_ms"]))
        print(f"{(keeper.visits - before) / took_s:.0f} visits/s, {keeper.failures} failures")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await keeper.close()
    return runs


async def resets(store: Store) -> float:
    """Return the longest time from a reset of a board to its pin being right again, beyond one interval, in ms."""
    await store.redis.flushdb()
    simulator = BoardSimulator(new_boards(1))
    serving = asyncio.create_task(simulator.run())
    await simulator.started.wait()
    board = next(iter(simulator.boards.values()))
    await simulated.enlist(store, [Device(id=board.id, name="porch", address=board.address)])
    job = Job(device_id=board.id, name="lit", pin=22, kind=JobKind.TIMER, duration_s=DAY_S)
    await jobs.add(store, job)
    keeper = Keeper(store, "bench", interval_s=2.0)
    longest_s = 0.0
    for number in range(RESETS + 1):
        began_s = time.monotonic()
        while not board.electronics.pins[22]:
            await keeper.step()
            await asyncio.sleep(0.02)
        if number:
            longest_s = max(longest_s, time.monotonic() - began_s)
        # Anywhere within the interval.
        end_s = time.monotonic() + 2.0 * (number + 0.5) / RESETS
        while time.monotonic() < end_s:
            await keeper.step()
            await asyncio.sleep(0.02)
        board.electronics.reset()
    await keeper.close()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return (longest_s - 2.0) * 1_000


async def locking(store: Store) -> tuple[list[float], list[float], list[float], list[float]]:
    """Return µs of one cycle, ours and redis-py's, and seconds of all waiters, ours and redis-py's."""
    ours, peers = [], []
    for _ in range(ROUNDS):
        began_s = time.perf_counter()
        for _ in range(CYCLES):
            peer = store.redis.lock("peer", timeout=10)
            await peer.acquire()
            await peer.release()
        middle_s = time.perf_counter()
        for _ in range(CYCLES):
            lock = await locks.take(store, DEVICE)
            assert lock is not None
            await lock.release()
        peers.append((middle_s - began_s) / CYCLES * 1e6)
        ours.append((time.perf_counter() - middle_s) / CYCLES * 1e6)

    async def peer_waits() -> None:
        async with store.redis.lock("peers", timeout=10):
            await asyncio.sleep(0.001)

    async def we_wait() -> None:
        async with locks.locked(store, DEVICE, wait_ms=30_000):
            await asyncio.sleep(0.001)

    ours_s, peers_s = [], []
    for _ in range(CROWDS):
        began_s = time.perf_counter()
        await asyncio.gather(*(peer_waits() for _ in range(WAITERS)))
        middle_s = time.perf_counter()
        await asyncio.gather(*(we_wait() for _ in range(WAITERS)))
        ours_s.append(time.perf_counter() - middle_s)
        peers_s.append(middle_s - began_s)
    return ours, peers, ours_s, peers_s


def child(*words: str) -> subprocess.Popen[str]:
    """Start this bench in another role; it ends with its stdin."""
    command = [sys.executable, "-m", "bench.boards", *words]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


async def measure(url: str) -> None:
    """Measure everything on one server."""
    async with open_store(url, name="bench") as store:
        ours_us, peer_us, ours_s, peer_s = await locking(store)
        report(
            "lock and release, uncontended", ours_us, peer_us, peer_name="redis-py Lock", unit="µs", bound="ratio <= 1"
        )
        report("50 waiters, 1 ms each", ours_s, peer_s, peer_name="redis-py Lock", unit="s", bound="ratio <= 0.2")
        with child("sink") as server:
            assert server.stdin is not None
            assert server.stdout is not None
            figures = await sending(store, int(server.stdout.readline()))
            server.stdin.close()
        report("metrics through the outbox", figures, unit="points/s", bound="ours >= 20000")
        with child("serve", str(BOARDS)) as server:
            assert server.stdin is not None
            assert server.stdout is not None
            try:
                addresses = json.loads(server.stdout.readline())
                runs = await polling(store, await enlist(store, addresses))
            finally:
                server.stdin.close()
        shares, late_ms = zip(*runs, strict=True)
        report("1,000 boards every 5 s: CPU", [100 * share for share in shares], unit="% of a core", bound="ours <= 50")
        report("1,000 boards every 5 s: lateness p99", late_ms, unit="ms", bound="ours <= 500")
        resets_ms = [await resets(store) for _ in range(RESET_RUNS)]
        report(
            "reset to pin right, beyond one interval", resets_ms, unit="ms", bound="ours <= 500",
            note=f"in each run the latest of {RESETS}",
        )  # fmt: skip


def main() -> None:
    """Measure boards."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder, embedded_server(Path(folder) / "r") as url:
        asyncio.run(measure(url))


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(int(sys.argv[2])))
    elif sys.argv[1:2] == ["sink"]:
        sink()
    else:
        main()

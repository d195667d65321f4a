"""What a lamp costs the gateway, and how soon it sees a change: against a plain ``websockets`` server.

The peer is what one writes first with that library: a handler a client that reads JSON keepalives, and a loop of
``await send`` over all clients. Both serve the same clients, one process each, taking turns. Ours is the gateway as it
is: tokens checked, levels from Redis, presence told to Redis. CPU is counted as the kernel counts it, so that whoever
else works on the machine changes it little; times take that they do.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import resource
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from bench.report import report
from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.messages import KEEPALIVE
from espfleet.domain.rooms import Room
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.domain.tokens import hash_token, new_token
from espfleet.gateway.patience import patient_loop
from espfleet.gateway.server import GatewaySettings, Limits, run_gateway
from espfleet.store import levels, registry
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease
from espfleet.store.registry import Change

CAP_S = 240.0

RUNS = 4
LAMPS = 3_000
LEVELS = 15
#: Between two levels, and between two keepalives of a lamp: longer than the slower of the two takes for all lamps.
PAUSE_S = 0.2
KEEPALIVES = 8
#: How long the last levels may take.
LATEST_S = 1.5
PEER = "websockets 17, loop of await send"
MASK = b"\x37\xfa\x21\x3d"
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(frozen=True)
class Cost:
    """What one run cost: memory of a lamp, CPU of a million levels and keepalives, and when a change arrived."""

    kib: float
    cpu_s_per_m_levels: float
    cpu_s_per_m_keepalives: float
    p99_ms: float


def main() -> None:
    """Measure and report."""
    ours, peer = [], []
    for _ in range(RUNS):
        ours.append(asyncio.run(measure_ours()))
        peer.append(asyncio.run(measure_peer()))
    names = {
        "kib": ("memory a lamp", "KiB", "ratio <= 0.4"),
        "cpu_s_per_m_levels": ("CPU of the gateway for a million levels sent", "s", "ratio <= 0.7"),
        "cpu_s_per_m_keepalives": ("CPU of the gateway for a million keepalives", "s", "ratio <= 0.4"),
        "p99_ms": (f"from a change to {LAMPS:,} lamps: 99 of 100 have it", "ms", "ratio <= 0.9"),
    }
    for name, (promise, unit, bound) in names.items():
        report(
            promise,
            [getattr(cost, name) for cost in ours],
            [getattr(cost, name) for cost in peer],
            peer_name=PEER,
            unit=unit,
            bound=bound,
        )


async def measure_ours() -> Cost:
    """Measure the gateway."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder, embedded_server(Path(folder)) as url:
        async with open_store(url, name="bench") as store:
            hellos = await set_up(store)
            shard = shard_of("wan", store.shards)
            lease = await Lease.take(store, f"s{shard}", "bench", 600_000)
            assert lease is not None

            async def change(number: int) -> int:
                level = GroupLevel(group="wan", level=number % 101, state=State.OK, at_ms=1)
                return await levels.publish(store, shard, lease.fence, [level], 1)

            async def beat() -> None:
                while True:
                    await levels.publish(store, shard, lease.fence, [], 1)
                    await asyncio.sleep(0.5)

            await change(0)
            beating = asyncio.create_task(beat())
            try:
                with child("ours", url) as server:
                    return await measure(server, "/lamp", hellos, change)
            finally:
                beating.cancel()
                await asyncio.wait([beating], timeout=1)


async def measure_peer() -> Cost:
    """Measure the plain server."""
    with child("peer") as server:
        port = int(line(server))
        async with connect(f"ws://127.0.0.1:{port}/change", proxy=None, compression=None) as remote:

            async def change(number: int) -> int:
                await remote.send(
                    json.dumps({"type": "level", "level": number % 101, "state": "ok", "seq": number + 1})
                )
                return number + 1

            return await measure(server, "/lamp", [KEEPALIVE] * LAMPS, change, port)


async def measure(server: Child, path: str, hellos: list[str], change: Any, port: int = 0) -> Cost:
    """Connect all lamps, change the level, let them send keepalives."""
    port = port or int(line(server))
    await asyncio.sleep(1)
    before_kib = memory_kib(server.pid)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(hellos, file)
        file.flush()
        with child("lamps", str(port), path, file.name) as lamps:
            await answer(lamps)
            await asyncio.sleep(1.5)
            kib = (memory_kib(server.pid) - before_kib) / LAMPS
            sent: dict[int, float] = {}
            begun_s = cpu_s(server.pid)
            for number in range(1, LEVELS + 1):
                at_s = time.monotonic()
                sent[await change(number)] = at_s
                await asyncio.sleep(PAUSE_S)
            levels_s = cpu_s(server.pid) - begun_s
            tell(lamps, sent)
            arrived = await answer(lamps)
            begun_s = cpu_s(server.pid)
            tell(lamps, "keepalives")
            await answer(lamps)
            await asyncio.sleep(0.5)
            keepalives_s = cpu_s(server.pid) - begun_s
            return Cost(
                kib=kib,
                cpu_s_per_m_levels=levels_s / arrived["count"] * 1e6,
                cpu_s_per_m_keepalives=keepalives_s / (LAMPS * KEEPALIVES) * 1e6,
                p99_ms=arrived["p99_ms"],
            )


async def set_up(store: Store, count: int = LAMPS) -> list[str]:
    """Register ``count`` lamps, and return their hellos."""
    tokens = [new_token() for _ in range(count)]
    devices = [
        Device(id=f"{number:012x}", name=f"lamp-{number}", room="hall", token_hashes=(hash_token(token),))
        for number, token in enumerate(tokens)
    ]
    changes = [
        Change("groups", "wan", Group(name="wan").to_dict()),
        Change("rooms", "hall", Room(name="hall", group="wan").to_dict()),
        *(Change("devices", device.id, device.to_dict()) for device in devices),
    ]
    await registry.change(store, lambda _: changes)
    return [
        json.dumps({"type": "hello", "protocol": 1, "id": device.id, "token": token})
        for device, token in zip(devices, tokens, strict=True)
    ]


# The servers.


async def serve_ours(url: str, port: int = 0, watchdog_ms: int = 600_000) -> None:
    """Be our gateway, on a port of its own or on one that it shares."""
    # Neither periods nor the watchdog shall add to what is counted, nor those who are told to come later.
    settings = GatewaySettings(
        port=port,
        share_port=port > 0,
        name=f"bench-{os.getpid()}",
        watchdog_ms=watchdog_ms,
        period_ms=600_000,
        lease_ms=600_000,
        limits=Limits(messages_per_s=1_000_000, connects_per_s=1_000_000, blocked_ms=600_000),
    )
    async with open_store(url, name="gateway") as store:
        await run_gateway(store, settings, lambda port: print(port, flush=True))


async def serve_peer() -> None:
    """Be what one writes first."""
    clients: set[ServerConnection] = set()
    heard: dict[ServerConnection, float] = {}

    async def handle(client: ServerConnection) -> None:
        assert client.request is not None
        if client.request.path == "/change":
            async for text in client:
                level = json.loads(text)
                for one in list(clients):
                    with contextlib.suppress(ConnectionClosed):
                        await one.send(json.dumps(level))
            return
        clients.add(client)
        try:
            with contextlib.suppress(ConnectionClosed):
                async for text in client:
                    if json.loads(text).get("type") == "keepalive":
                        heard[client] = time.monotonic()
        finally:
            clients.discard(client)
            heard.pop(client, None)

    async with serve(handle, "127.0.0.1", 0, backlog=4_096) as server:
        print(next(iter(server.sockets)).getsockname()[1], flush=True)
        await server.serve_forever()


# The lamps: one process, sockets and epoll, for a client library would be slower than what it measures.


def be_lamps(port: int, path: str, hellos_file: str) -> None:
    """Connect, report when each level came, and send keepalives."""
    hellos: list[str] = json.loads(Path(hellos_file).read_text())
    lamps = [open_lamp(port, path, hello) for hello in hellos]
    poll = select.epoll()
    by_file = {lamp.fileno(): lamp for lamp in lamps}
    for number in by_file:
        poll.register(number, select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    print(json.dumps("ready"), flush=True)
    came: dict[tuple[int, int], float] = {}

    def listen(timeout_s: float | None) -> bool:
        """Take what comes, and tell whether the parent says something."""
        ready = [number for number, _ in poll.poll(timeout_s)]
        for number in filter(None, ready):
            note(by_file[number].recv(65_536), number, came)
        return 0 in ready

    while True:
        if listen(None):
            said = json.loads(sys.stdin.readline() or "null")
            if said is None:
                return
            if said == "keepalives":
                frame = masked(KEEPALIVE)
                for _ in range(KEEPALIVES):
                    for lamp in lamps:
                        lamp.send(frame)
                    time.sleep(PAUSE_S)
                print(json.dumps("sent"), flush=True)
            else:
                end_s = time.monotonic() + LATEST_S
                while time.monotonic() < end_s:
                    listen(0.1)
                print(json.dumps(arrivals(came, said)), flush=True)


def open_lamp(port: int, path: str, hello: str) -> socket.socket:
    """Return a connection that has said hello."""
    lamp = socket.create_connection(("127.0.0.1", port))
    lamp.sendall(REQUEST.format(path=path).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += lamp.recv(4_096)
    assert head.startswith(b"HTTP/1.1 101 "), head
    lamp.sendall(masked(hello))
    return lamp


def masked(text: str) -> bytes:
    """Return a text frame as a client sends it."""
    data = text.encode()
    body = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(data))
    length = bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    return b"\x81" + length + MASK + body


def note(data: bytes, lamp: int, came: dict[tuple[int, int], float]) -> None:
    """Remember when a lamp got a level; what is asked for is found in the bytes, for parsing would take too long."""
    now_s = time.monotonic()
    parts = data.split(b'"seq"')
    for part in parts[1:]:
        digits = part[1:24].strip().split(b",")[0].split(b"}")[0]
        came.setdefault((lamp, int(digits)), now_s)


def arrivals(came: Mapping[tuple[int, int], float], sent: Mapping[str, float]) -> dict[str, float]:
    """Return how many levels came and how long 99 of 100 lamps waited, in the median change."""
    waits: dict[int, list[float]] = {int(seq): [] for seq in sent}
    for (_, seq), at_s in came.items():
        if seq in waits:
            waits[seq].append((at_s - sent[str(seq)]) * 1_000)
    # A level that was replaced before a lamp had it never comes there.
    p99s = [sorted([*one, *[math.inf] * (LAMPS - len(one))])[int(0.99 * LAMPS)] for one in waits.values()]
    return {"count": sum(map(len, waits.values())), "p99_ms": statistics.median(p99s)}


# Processes.


class Child:
    """A process that talks in lines."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid


@contextmanager
def child(*args: str) -> Iterator[Child]:
    """Run a role of this module as a process."""
    command = [sys.executable, "-m", "bench.gateway", *args]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Child(process)
        finally:
            process.kill()


def line(of: Child) -> str:
    """Return the next line that a process says."""
    assert of.process.stdout is not None
    return of.process.stdout.readline()


async def answer(of: Child) -> Any:
    """Return what a process answers, while other tasks go on."""
    return json.loads(await asyncio.to_thread(line, of))


def tell(to: Child, what: Any) -> None:
    """Tell a process something."""
    assert to.process.stdin is not None
    to.process.stdin.write(json.dumps(what) + "\n")
    to.process.stdin.flush()


def memory_kib(pid: int) -> int:
    """Return the memory a process has of its own."""
    for row in Path(f"/proc/{pid}/status").read_text().splitlines():
        if row.startswith("RssAnon:"):
            return int(row.split()[1])
    raise AssertionError("the kernel does not tell the memory of a process")


def cpu_s(pid: int) -> float:
    """Return the CPU time of a process."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def allow_files() -> None:
    """Let this process have as many connections as it may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    allow_files()
    if sys.argv[1:2] == ["ours"]:
        with asyncio.Runner(loop_factory=patient_loop) as runner:
            runner.run(serve_ours(sys.argv[2], *map(int, sys.argv[3:])))
    elif sys.argv[1:2] == ["peer"]:
        asyncio.run(serve_peer())
    elif sys.argv[1:2] == ["lamps"]:
        be_lamps(int(sys.argv[2]), sys.argv[3], sys.argv[4])
    else:
        main()

"""From the reply to the lamp: how long after a ping's reply has a lamp been told the level it makes?

A fleet runs as users run it (``up``: Redis, prober, leveler, gateway, each a process). One target on loopback is probed
four times a second; its group has thresholds of microseconds, so that nearly every reply makes another level. Replies
and frames are both seen on the wire by a packet socket, so both moments are the kernel's stamps. A thousand lamps are
connected from here.
"""

from __future__ import annotations

import asyncio
import base64
import bisect
import os
import selectors
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.report import not_measured, report
from espfleet.domain.devices import Device
from espfleet.domain.messages import PROTOCOL
from espfleet.domain.names import SIMULATED
from espfleet.domain.tokens import hash_token
from espfleet.services import groups, rooms, simulated, targets
from espfleet.store.client import open_store
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
CAP_S = 150.0
LAMPS = 1_000
TARGET = "127.99.1.2"
INTERVAL_MS = 250
WARM_UP_S = 8.0
MEASURED_S = 20.0
RUNS = 3
TOKEN = "bench-" + "x" * 40
SO_TIMESTAMPNS = 35
ICMP_ECHO_REPLY = 0
MASK = bytes(4)
KEEPALIVE = bytes((0x81, 0x80 | 20)) + MASK + b'{"type":"keepalive"}'
HALF = "from reply received to frame written to 1,000 lamps, median"
TAIL = "from reply received to frame written to 1,000 lamps, 99 of 100"
#: Room for the packets of several fan-outs, bytes.
SNIFFER_BYTES = 1 << 26
SO_RCVBUFFORCE = 33
ICMP, TCP = 1, 6


def main() -> None:
    try:
        sniffer = open_sniffer()
    except PermissionError:
        for promise, bound in ((HALF, "ours <= 40"), (TAIL, "ours <= 100")):
            not_measured(promise, bound=bound, unit="ms", reason="needs root, to see replies on the wire")
        return
    medians, tails = [], []
    with sniffer:
        for _ in range(RUNS):
            delays_ms = one_run(sniffer)
            medians.append(statistics.median(delays_ms))
            tails.append(statistics.quantiles(delays_ms, n=100)[98])
    note = f"{LAMPS} lamps, everything on this machine; both moments are the kernel's stamps of packets on loopback"
    report(HALF, medians, bound="ours <= 40", unit="ms", note=note)
    report(TAIL, tails, bound="ours <= 100", unit="ms", note=note)


def open_sniffer(device: str = "lo") -> socket.socket:
    """Return a socket that sees packets on a device, or with ``""`` on all, with the kernel's stamps."""
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800))
    if device:
        sniffer.bind((device, 0))
    sniffer.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    sniffer.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SNIFFER_BYTES)
    sniffer.setblocking(False)
    return sniffer


def one_run(sniffer: socket.socket) -> list[float]:
    """Return the delay of each level to each lamp, ms."""
    with tempfile.TemporaryDirectory(prefix="ef") as home, fleet(Path(home), set_up) as (port, _):
        lamps = connect(port)
        try:
            return measure(sniffer, lamps, port)
        finally:
            for lamp in lamps:
                lamp.close()


@contextmanager
def fleet(home: Path, set_up: Callable[[str], Coroutine[Any, Any, None]]) -> Iterator[tuple[int, int]]:
    """Run a fleet in a folder, set up by a function that gets the URL of its Redis; yield port and process id."""
    port = free_port()
    environ = {**os.environ, "ESPFLEET_HOME": str(home), "SERVER_PORT": str(port), "PYTHONPATH": str(ROOT)}
    environ.pop("REDIS_URL", None)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "espfleet", "up", "--nodemo"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as up:
        try:
            wait_for_port(port)
            asyncio.run(set_up(f"unix://{home}/.espfleet/redis.sock"))
            yield port, up.pid
        finally:
            up.terminate()


def wait_for_port(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


async def set_up(url: str) -> None:
    async with open_store(url, name="bench") as store:
        await targets.add(store, name="loop", address=TARGET, interval_ms=INTERVAL_MS)
        small = {
            "latency_orange_ms": "0.05",
            "latency_red_ms": "5",
            "jitter_orange_ms": "none",
            "jitter_red_ms": "none",
            "jump_orange": "none",
            "jump_red": "none",
        }
        await groups.edit(store, name="default", thresholds=small)
        await rooms.add(store, name="hall", group="default")
        devices = [
            Device(
                id=f"02be{number:08x}",
                name=f"bench-{number}",
                room="hall",
                labels=(SIMULATED,),
                token_hashes=(hash_token(TOKEN),),
            )
            for number in range(LAMPS)
        ]
        await simulated.enlist(store, devices)


def connect(port: int) -> list[socket.socket]:
    """Return lamps that have said hello, ready to be read."""
    time.sleep(3.0)  # the gateway polls the registry each two seconds if it missed the hint
    lamps = []
    for number in range(LAMPS):
        lamp = socket.create_connection(("127.0.0.1", port), 5)
        key = base64.b64encode(os.urandom(16)).decode()
        lamp.sendall(
            f"GET /lamp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        answer = lamp.recv(4_096)
        assert answer.startswith(b"HTTP/1.1 101"), answer
        hello = (
            f'{{"type":"hello","protocol":{PROTOCOL},"id":"02be{number:08x}","token":"{TOKEN}","firmware":"bench",'
            '"chip":"bench","capabilities":[],"boot":{"reason":"power-on","count":1}}'
        ).encode()
        lamp.sendall(bytes((0x81, 0x80 | 126)) + struct.pack(">H", len(hello)) + MASK + hello)
        lamp.setblocking(False)
        lamps.append(lamp)
    return lamps


def measure(sniffer: socket.socket, lamps: list[socket.socket], port: int) -> list[float]:
    """Return the delay of each new level to each lamp, ms."""
    replies: list[float] = []
    frames: list[tuple[float, int, int]] = []
    with selectors.DefaultSelector() as ready:
        ready.register(sniffer, selectors.EVENT_READ)
        for lamp in lamps:
            ready.register(lamp, selectors.EVENT_READ)
        begin = time.time() + WARM_UP_S
        end, keepalive = begin + MEASURED_S, time.time() + 0.5
        while (now := time.time()) < end:
            if now >= keepalive:
                keepalive += 1.0
                for lamp in lamps:
                    lamp.send(KEEPALIVE)
            for event, _ in ready.select(0.05):
                if event.fileobj is sniffer:
                    sniff(sniffer, port, replies, frames)
                else:
                    event.fileobj.recv(16_384)  # type: ignore[union-attr]
    return delays_ms(replies, [frame for frame in frames if frame[0] > begin])


def sniff(
    sniffer: socket.socket,
    port: int,
    replies: list[float],
    frames: list[tuple[float, int, int]],
    target: str = TARGET,
) -> None:
    """Note the target's replies, and the level frames of the gateway with the lamp's port and the level's number."""
    while True:
        try:
            packet, extra, _, sender = sniffer.recvmsg(600, 64)
        except BlockingIOError:
            return
        if sender[2] == socket.PACKET_OUTGOING:
            continue  # each packet of loopback is seen twice: when it is sent, and when it comes
        seconds, nanoseconds = struct.unpack("qq", extra[0][2][:16])
        at_s = seconds + nanoseconds / 1e9
        if packet[9] == ICMP and packet[12:16] == socket.inet_aton(target) and packet[20] == ICMP_ECHO_REPLY:
            replies.append(at_s)
        elif packet[9] == TCP and int.from_bytes(packet[20:22], "big") == port:
            seq = newest_seq(packet[20:])
            if seq:
                frames.append((at_s, int.from_bytes(packet[22:24], "big"), seq))


def delays_ms(replies: list[float], frames: list[tuple[float, int, int]]) -> list[float]:
    """Return, for each level that a lamp was told for the first time, how old the newest reply was then, ms."""
    found = []
    told: dict[int, int] = {}
    for at_s, lamp, seq in frames:
        if seq <= told.get(lamp, 0):
            continue
        first, told[lamp] = lamp not in told, seq
        place = bisect.bisect_left(replies, at_s)
        if place and not first:
            found.append((at_s - replies[place - 1]) * 1_000)
    return found


def newest_seq(data: bytes) -> int:
    """Return the number of the newest level in some frames, 0 where there is none."""
    place = data.rfind(b'"seq":')
    if place < 0:
        return 0
    digits = data[place + 6 : place + 26].lstrip()
    length = next((index for index, char in enumerate(digits) if not chr(char).isdigit()), len(digits))
    return int(digits[:length] or 0)


if __name__ == "__main__":
    main()

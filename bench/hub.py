"""What showing cameras costs: 4 of them, 10 pictures a second and 30 kB each, to 10 viewers who look at all of them.

Gateway and web run as processes of their own on an embedded Redis; what they cost, and Redis with them, is CPU time
read from the kernel. Beside the viewers one for each camera reads too slowly: only those may miss pictures.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Self

from websockets.asyncio.client import connect

from bench.report import report
from espfleet.domain.devices import Device, Dialect, Kind
from espfleet.domain.tokens import hash_token, new_token
from espfleet.simulator.jpegs import encode, scene
from espfleet.store import registry
from espfleet.store.client import open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.registry import Change

CAP_S = 120.0
ROOT = Path(__file__).parents[1]

CPU = "CPU of gateway, web and Redis for 4 cameras at 10 pictures/s and 10 viewers of all"
REACHED = "pictures of them that reach a viewer who reads"
AGE = "age of a picture when a viewer has it, p99"
SLOW = "pictures of them that reach a viewer who reads too slowly"

CAMERAS = 4
VIEWERS = 10
EACH_S = 10
PICTURE_BYTES = 30_000
RUNS = 3
LOAD_S = 6.0
SETTLE_S = 1.0
#: A slow viewer takes so much in a second: less than a tenth of what comes.
SLOW_BYTES = 30_000


class Worker:
    """A worker as a process."""

    def __init__(self, role: str, environ: dict[str, str], port: int) -> None:
        self.port = port
        words = [sys.executable, "-P", "-m", "espfleet", "run", role]
        self._process = subprocess.Popen(words, env={**os.environ, **environ, "PYTHONPATH": str(ROOT)})

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    async def __aenter__(self) -> Self:
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            await asyncio.sleep(0.1)
        raise RuntimeError(f"nothing listens on port {self.port}")

    async def __aexit__(self, *_: object) -> None:
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 10)


class Viewer:
    """Reads the stream of a camera.

    Attributes:
        got: Numbers of the pictures it got, while they counted.
        ages_ms: How old they were.
    """

    def __init__(self, port: int, camera: str, *, slow: bool = False) -> None:
        self.got: list[int] = []
        self.ages_ms: list[float] = []
        self._port = port
        self._camera = camera
        self._slow = slow

    async def look(self) -> None:
        """Read until cancelled."""
        link = socket.socket()
        if self._slow:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", self._port))
        reader, writer = await asyncio.open_connection(sock=link, limit=4_096 if self._slow else 2**18)
        writer.write(f"GET /video.mjpeg?device={self._camera} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
        try:
            await reader.readuntil(b"\r\n\r\n")
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.rpartition(b"Content-Length: ")[2])
                data = await reader.readexactly(size + 2)
                self._note(data)
                if self._slow:
                    await asyncio.sleep(size / SLOW_BYTES)
        finally:
            writer.transport.abort()

    def share(self, sent: int) -> float:
        """Return how many it got of those sent since it began to look, in percent."""
        # A picture of the run before may come first.
        first = next((at for at in range(1, len(self.got)) if self.got[at] < self.got[at - 1]), 0)
        return 100 * len(self.got[first:]) / (sent - self.got[first])

    def _note(self, data: bytes) -> None:
        number, _, sent_s = data[6:38].decode().strip().partition(" ")
        self.got.append(int(number))
        self.ages_ms.append((time.time() - float(sent_s)) * 1_000)


def main() -> None:
    """Measure all promises."""
    with tempfile.TemporaryDirectory(prefix="ef") as folder, embedded_server(Path(folder) / "r") as url:
        asyncio.run(_main(url, Path(folder)))


async def _main(url: str, home: Path) -> None:
    tokens = {f"cam-{number}": new_token() for number in range(CAMERAS)}
    async with open_store(url, name="bench", shards=4) as store:
        devices = [
            Device(
                id=f"{number:012x}",
                name=name,
                kinds=(Kind.CAMERA,),
                dialect=Dialect.HUB,
                token_hashes=(hash_token(token),),
            )
            for number, (name, token) in enumerate(tokens.items())
        ]
        await registry.change(store, lambda _: [Change("devices", device.id, device.to_dict()) for device in devices])
        told = await store.do("INFO", "server")
        redis_pid = int(told["process_id"] if isinstance(told, dict) else told.partition(b"process_id:")[2].split()[0])
    ports = _free_port(), _free_port()
    environ = {"REDIS_URL": url, "ESPFLEET_HOME": str(home), "LOG_LEVEL": "WARNING"}
    environ |= {"SERVER_PORT": str(ports[0]), "WEB_PORT": str(ports[1])}
    used, reached, ages, slow_ones = [], [], [], []
    async with Worker("gateway", environ, ports[0]) as gateway, Worker("web", environ, ports[1]) as web:
        for _ in range(RUNS):
            cpu, share, age, slow = await _run(gateway, web, redis_pid, tokens)
            used.append(cpu)
            reached.append(share)
            ages.append(age)
            slow_ones.append(slow)
    report(CPU, used, unit="% of a core", bound="ours <= 100")
    report(REACHED, reached, unit="%", bound="ours >= 99")
    report(AGE, ages, unit="ms", bound="ours <= 250")
    report(SLOW, slow_ones, unit="%", bound="ours < 50", note="the newest each time, and nobody else is kept waiting")


async def _run(
    gateway: Worker, web: Worker, redis_pid: int, tokens: dict[str, str]
) -> tuple[float, float, float, float]:
    """Return CPU in % of a core, the share in % that reached quick viewers, their p99 age in ms, and the slow share."""
    quick = [Viewer(web.port, name) for name in tokens for _ in range(VIEWERS)]
    slow = [Viewer(web.port, name, slow=True) for name in tokens]
    pids = [gateway.pid, web.pid, redis_pid]
    stop = asyncio.Event()
    looking = [asyncio.create_task(viewer.look()) for viewer in (*quick, *slow)]
    cameras = [asyncio.create_task(_film(gateway.port, token, stop)) for token in tokens.values()]
    await asyncio.sleep(SETTLE_S)
    began_s, cpu_s = time.monotonic(), sum(map(_cpu_s, pids))
    await asyncio.sleep(LOAD_S)
    cpu = 100 * (sum(map(_cpu_s, pids)) - cpu_s) / (time.monotonic() - began_s)
    stop.set()
    sent = [await camera for camera in cameras]
    await asyncio.sleep(0.5)
    for task in looking:
        task.cancel()
    await asyncio.gather(*looking, return_exceptions=True)
    shares = [one.share(sent[number // VIEWERS]) for number, one in enumerate(quick)]
    slow_shares = [one.share(sent[number]) for number, one in enumerate(slow)]
    # The first may be one that was there before anybody looked.
    ages_ms = [age for one in quick for age in one.ages_ms[1:]]
    return cpu, min(shares), statistics.quantiles(ages_ms, n=100)[98], max(slow_shares)


async def _film(port: int, token: str, stop: asyncio.Event) -> int:
    """Send pictures as a camera does; return how many."""
    plain = encode(scene(1, 0.0))
    spare = bytes(PICTURE_BYTES - len(plain) - 36)
    async with connect(f"ws://127.0.0.1:{port}/websocket", proxy=None, compression=None) as link:
        await link.recv()
        await link.send(json.dumps({"event": "identify", "data": {"type": "esp32", "auth_token": token}}))
        assert "identify_success" in str(await link.recv())
        begun_s, number = time.monotonic(), 0
        while not stop.is_set():
            comment = f"{number} {time.time():.6f}".ljust(32).encode() + spare
            head = plain[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big")
            await link.send(head + comment + plain[2:])
            number += 1
            await asyncio.sleep(max(0.0, begun_s + number / EACH_S - time.monotonic()))
        return number


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


if __name__ == "__main__":
    main()

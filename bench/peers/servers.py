"""Servers that one would pick instead, each started on a port of loopback with everything it needs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent
MASK = b"\x37\xfa\x21\x3d"
#: The key is that of RFC 6455's example; the floor knows no other.
REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
START_S = 10.0


@dataclass
class Server:
    """A server that runs.

    Attributes:
        pid: Its process.
        port: Where it listens.
        kind: What lamps speak to it: ``ws`` or ``mqtt``.
    """

    pid: int
    port: int
    kind: str = "ws"
    _control: socket.socket | None = field(default=None, repr=False)

    def change(self, text: str) -> None:
        """Let it send a text to all lamps."""
        if self._control is None:
            self._control = _control_mqtt(self.port) if self.kind == "mqtt" else _control_ws(self.port)
        self._control.sendall(_publish(text.encode()) if self.kind == "mqtt" else masked(text.encode()))

    def close(self) -> None:
        """Give the connection for changes back."""
        if self._control is not None:
            self._control.close()


def masked(text: bytes) -> bytes:
    """Return a text frame as a client sends it."""
    body = bytes(byte ^ MASK[index & 3] for index, byte in enumerate(text))
    length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
    return b"\x81" + length + MASK + body


def compiled(name: str, folder: Path) -> Path:
    """Return a program of this folder, compiled."""
    program = folder / name
    if not program.exists():
        subprocess.run(["gcc", "-O2", "-o", program, SOURCES / f"{name}.c"], check=True)
    return program


def missing(*programs: str) -> str:
    """Return what of the programs this machine lacks, in words, or ``""``."""
    absent = [program for program in programs if not which(program)]
    return f"needs {', '.join(absent)}" if absent else ""


def which(program: str) -> str | None:
    """Return where a program is; servers are not in the path of everybody."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@contextmanager
def floor(folder: Path) -> Iterator[Server]:
    """Run the floor: what the kernel alone asks."""
    with _started([str(compiled("floor", folder))]) as (process, port):
        yield from _served(Server(process.pid, port))


@contextmanager
def send_loop() -> Iterator[Server]:
    """Run what one writes first with ``websockets``: a loop of ``await send``."""
    with _started([sys.executable, "-m", "bench.gateway", "peer"]) as (process, port):
        yield from _served(Server(process.pid, port))


@contextmanager
def fastapi() -> Iterator[Server]:
    """Run FastAPI under uvicorn."""
    with _started([sys.executable, "-m", "bench.peers.fastapi_server"]) as (process, port):
        yield from _served(Server(process.pid, port))


@contextmanager
def node_ws(folder: Path) -> Iterator[Server]:
    """Run Node's ``ws``, which npm installs into ``folder``."""
    for name in ("package.json", "node_ws.js"):
        shutil.copy(SOURCES / name, folder)
    if not (folder / "node_modules").exists():
        subprocess.run(
            ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"],
            cwd=folder, check=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
    with _started(["node", str(folder / "node_ws.js")]) as (process, port):
        yield from _served(Server(process.pid, port))


@contextmanager
def mosquitto() -> Iterator[Server]:
    """Run the MQTT broker as Debian has it."""
    program = which("mosquitto")
    assert program is not None, "ask missing() first"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = (SOURCES / "mosquitto.conf").read_text()
    with (
        _folder_file(f"listener {port} 127.0.0.1\n{options}") as conf,
        subprocess.Popen([program, "-c", str(conf)], stdout=subprocess.DEVNULL) as process,
    ):
        try:
            _wait_for(port)
            yield from _served(Server(process.pid, port, "mqtt"))
        finally:
            process.kill()


def mosquitto_version() -> str:
    """Return which version of the broker this machine has."""
    program = which("mosquitto")
    if program is None:
        return ""
    told = subprocess.run([program, "-h"], capture_output=True, text=True, check=False).stdout
    return told.split()[2] if told else ""


@contextmanager
def _started(command: list[str], environ: Mapping[str, str] | None = None) -> Iterator[tuple[Any, int]]:
    """Run a server that says its port first."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


def _served(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.close()


@contextmanager
def _folder_file(text: str) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        file.write(text)
        file.flush()
        Path(file.name).chmod(0o644)
        yield Path(file.name)


def _wait_for(port: int) -> None:
    until_s = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > until_s:
                raise
            time.sleep(0.05)
        else:
            return


def _control_ws(port: int) -> socket.socket:
    control = socket.create_connection(("127.0.0.1", port))
    control.sendall(REQUEST.format(path="/change").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += control.recv(4_096)
    assert head.startswith(b"HTTP/1.1 101 "), head
    return control


def _control_mqtt(port: int) -> socket.socket:
    control = socket.create_connection(("127.0.0.1", port))
    name = b"control"
    control.sendall(b"\x10" + bytes([12 + len(name)]) + b"\0\4MQTT\4\2\0\0\0" + bytes([len(name)]) + name)
    assert control.recv(4) == b"\x20\x02\0\0", "the broker refuses the connection"
    return control


def _publish(text: bytes) -> bytes:
    """Return an MQTT message to the topic of all lamps; its length takes one byte up to 127, else two."""
    length = 7 + len(text)
    size = bytes([length]) if length < 128 else bytes([length & 127 | 128, length >> 7])
    return b"\x30" + size + b"\0\5level" + text


def pin(pid: int, core: int) -> None:
    """Keep a process, and what it starts, on one core, if this machine has several."""
    cores = sorted(os.sched_getaffinity(0))
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {cores[core % len(cores)]})

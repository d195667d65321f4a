"""What an idle lamp takes in the gateway's memory under TLS.

The gateway runs as users run it (``run gateway`` with ``TLS=on`` and the fleet's own certificate); the lamps connect
with full handshakes and say hello.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import tempfile
import time
from pathlib import Path

from bench.gateway import allow_files, masked, memory_kib
from bench.peers.servers import REQUEST
from bench.reply_to_lamp import wait_for_port
from bench.report import report
from bench.stage import Stage, gateway, stage
from tests.ports import free_port

LAMPS = 1_000
RUNS = 3
PROMISE = "memory of one of 1,000 idle lamps under TLS"


def main() -> None:
    """Measure and report."""
    allow_files()
    report(PROMISE, [asyncio.run(one_run()) for _ in range(RUNS)], unit="KiB", bound="ours <= 32")


async def one_run(lamps: int = LAMPS) -> float:
    """Return the memory that a lamp took in one gateway with so many, KiB."""
    async with stage(lamps) as ready:
        return await asyncio.to_thread(weigh, ready)


def weigh(ready: Stage) -> float:
    """Start a gateway, connect all lamps, and return what each took, KiB."""
    port = free_port()
    context = ssl.create_default_context()
    with (
        tempfile.TemporaryDirectory(prefix="ef") as home,
        gateway(ready.url, port, ESPFLEET_HOME=home, TLS="on") as process,
    ):
        wait_for_port(port)
        (authority,) = (Path(home) / ".espfleet").rglob("ca.pem")
        context.load_verify_locations(authority)
        time.sleep(1)
        before_kib = memory_kib(process.pid)
        lamps = [open_lamp(context, port, hello) for hello in ready.hellos]
        time.sleep(2)
        kib = (memory_kib(process.pid) - before_kib) / len(lamps)
        for lamp in lamps:
            lamp.close()
        return kib


def open_lamp(context: ssl.SSLContext, port: int, hello: str) -> ssl.SSLSocket:
    """Return a lamp that was welcomed over TLS."""
    lamp = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
    lamp.sendall(REQUEST.format(path="/lamp").encode())
    assert lamp.recv(4_096).startswith(b"HTTP/1.1 101 ")
    lamp.sendall(masked(hello))
    assert b'"welcome"' in lamp.recv(4_096)
    return lamp


if __name__ == "__main__":
    main()

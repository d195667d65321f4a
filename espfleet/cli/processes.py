"""``run WORKER --processes N``: several processes of one worker on this machine, which share the work or the port."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
import time
from collections.abc import Iterator, Sequence
from typing import Any

from espfleet.cli.children import STOP_S, WATCH_S, Child, end
from espfleet.cli.opening import fleet_url
from espfleet.cli.reviving import keep_server
from espfleet.cli.stopping import run_until_told
from espfleet.errors import InvalidError, StartError
from espfleet.settings import Settings
from espfleet.store.embedded import SILENT_FOR_S

logger = logging.getLogger(__name__)

#: Workers of which several on one machine are of use.
SHARING = ("gateway", "prober", "leveler")
MOST = 64
#: A process that replaces another has this long to start before the old one is told to go.
SETTLE_S = 3.0


def run_processes(worker: str, given: Settings, count: int, drain_s: float) -> None:
    """Run several processes of one worker until told to stop; SIGHUP replaces them one by one.

    Args:
        worker: gateway, prober or leveler.
        given: The settings.
        count: How many, 2 to 64.
        drain_s: How long each gateway may take to hand its lamps over when it ends.

    Raises:
        InvalidError: If this worker cannot be multiplied.
        StartError: If the port is in use.
    """
    if worker not in SHARING:
        raise InvalidError(
            f"{worker} runs once on a machine: --processes is for {', '.join(SHARING)}", field="processes"
        )
    options: list[str] = []
    with fleet_url(given, SILENT_FOR_S), contextlib.ExitStack() as stack:
        if worker == "gateway":
            port = stack.enter_context(reserved(given.server_host, given.server_port))
            options = [f"--share_port={port}", f"--drain={drain_s:g}"]
        run_until_told(lambda: _supervise(worker, given, count, options, drain_s), drain_s)


@contextlib.contextmanager
def reserved(host: str, port: int) -> Iterator[int]:
    """Hold a port that only processes of this user can share, and yield its number."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        holder = socket.socket(family, kind, protocol)
    except OSError as exc:
        raise StartError(f"the gateways cannot listen on {host!r}: {exc.strerror}; set SERVER_HOST") from exc
    with holder:
        try:
            _bind(holder, address)
        except OSError as exc:
            raise StartError(
                f"the gateways cannot listen on {host}:{port}: {exc.strerror}; set SERVER_HOST or SERVER_PORT"
            ) from exc
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        yield int(holder.getsockname()[1])


def _bind(holder: socket.socket, address: Any) -> None:
    """Bind a socket to an address that nobody else has, or shares."""
    try:
        holder.bind(address)
    except OSError as exc:
        if exc.errno != errno.EADDRINUSE:
            raise
        # Lamps of a gateway that has just ended keep its port for a minute; who listens there still keeps us out.
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(address)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


async def _supervise(worker: str, given: Settings, count: int, options: Sequence[str], drain_s: float) -> None:
    children = [Child(worker, options) for _ in range(count)]
    wanted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, wanted.set)
    logger.info("running %d processes of %s; SIGHUP replaces them one by one", count, worker)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_watch(children), name="children")
            tasks.create_task(_replace_when_told(children, wanted, drain_s), name="replace")
            if given.redis_url is None:
                tasks.create_task(keep_server(given), name="embedded server")
    finally:
        await asyncio.to_thread(end, children, STOP_S + drain_s)


async def _watch(children: list[Child]) -> None:
    """Keep the processes running."""
    while True:
        for child in children:
            child.look(time.monotonic())
        await asyncio.sleep(WATCH_S)


async def _replace_when_told(children: list[Child], wanted: asyncio.Event, drain_s: float) -> None:
    """Start a new process beside each old one, then end the old one, so that somebody serves at every moment."""
    while True:
        await wanted.wait()
        wanted.clear()
        logger.info("replacing %d processes one by one", len(children))
        for old in list(children):
            new = Child(old.worker, old.options)
            children.append(new)
            await asyncio.sleep(SETTLE_S)
            children.remove(old)
            await asyncio.to_thread(end, [old], STOP_S + drain_s)
        logger.info("all processes are new")

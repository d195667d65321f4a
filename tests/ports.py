"""TCP ports for servers of tests and benches."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below those that the kernel gives to connections: a server that is started again finds its port free.
PORTS = (10_240, 32_000)


def free_port() -> int:
    """Return a port of loopback that nobody has, and that no connection of somebody else gets by chance."""
    while True:
        port = random.SystemRandom().randrange(*PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port

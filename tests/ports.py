"""TCP ports for servers of tests and benches."""

from __future__ import annotations

import contextlib
import random
import socket

#: Below those that the kernel gives to connections: a server that is started again finds its port free.
PORTS = (10_240, 32_000)


#: One for each port that was given away, so that no process of the machine gets it until this one ends.
_claims: list[socket.socket] = []


def free_port(*, second_above: int = 0) -> int:
    """Return a port of loopback that nobody has or was given, and that no connection of somebody else gets by chance.

    Args:
        second_above: So far above it is another one that is nobody's either; 0 if none is needed.
    """
    while True:
        port = random.SystemRandom().randrange(PORTS[0], PORTS[1] - second_above)
        if all(_is_mine(each) for each in {port, port + second_above}):
            return port


def _is_mine(port: int) -> bool:
    """Claim a port, and return whether nobody had done so, nor listens there."""
    claim = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(OSError), socket.socket() as probe:
        # An abstract name: it needs no file, and ends with its process.
        claim.bind(f"\0espfleet-test-port-{port}")
        probe.bind(("127.0.0.1", port))
        _claims.append(claim)
        return True
    claim.close()
    return False

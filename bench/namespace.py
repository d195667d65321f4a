"""A private network for benches and tests: a network namespace of this thread, gone when it is left."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: From linux/sched.h.
CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def possible() -> bool:
    """Return whether this process may make one."""
    try:
        with private_network():
            return True
    except OSError:
        return False


@contextmanager
def private_network(*, ping_sockets: bool = True) -> Iterator[None]:
    """Move this thread, and the processes it starts meanwhile, into a new network namespace with a loopback device.

    Args:
        ping_sockets: Whether everybody there may open datagram ICMP sockets.

    Raises:
        OSError: If this process may not (it takes root).
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _call("unshare", CLONE_NEWNET)
        try:
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            # /proc/sys/net shows the namespace of the thread that opens it.
            Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647" if ping_sockets else "1 0")
            yield
        finally:
            _call("setns", home, CLONE_NEWNET)
    finally:
        os.close(home)


def _call(name: str, *arguments: int) -> None:
    if getattr(_LIBC, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")

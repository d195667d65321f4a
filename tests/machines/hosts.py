"""Machines for tests: network namespaces on one bridge, and what runs on them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from espfleet.store.binaries import find_server

ROOT = Path(__file__).parents[2]
NET = "10.213.77"
REDIS_PORT = 6400
END_WITHIN_S = 10.0


def ip(*words: str) -> None:
    """Run ``ip``."""
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


class Host:
    """A machine: its own network, one cable to the others.

    Attributes:
        name: Name of its network namespace.
        address: Its IP address.
        log: What its programs say.
        folder: Where they run; it is the same for all machines.
    """

    def __init__(self, name: str, number: int, stack: ExitStack, folder: Path) -> None:
        self.name = name
        self.address = f"{NET}.{number}"
        self.log = folder / f"{number}.log"
        self.folder = folder
        self._cable = f"ef{os.getpid() % 100_000}-{number}"
        self._stack = stack

    def plug_in(self, bridge: str) -> None:
        """Connect it to the others."""
        ip("netns", "add", self.name)
        self._stack.callback(ip, "netns", "del", self.name)
        ip("link", "add", self._cable, "netns", bridge, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        ip("-n", bridge, "link", "set", self._cable, "master", "br0", "up")
        ip("-n", self.name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.name, "link", "set", "lo", "up")
        self.cable(bridge, up=True)

    def cable(self, bridge: str, *, up: bool) -> None:
        """Plug the cable in, or pull it: what is under way is lost, and nobody is told."""
        ip("-n", bridge, "link", "set", self._cable, "up" if up else "down")
        ip("-n", self.name, "link", "set", "eth0", "up")

    def run(self, *command: str, **environ: str) -> subprocess.Popen[bytes]:
        """Run a program on it until the end of the test; what it says goes to the log."""
        log = self._stack.enter_context(self.log.open("ab"))
        process = subprocess.Popen(
            ["ip", "netns", "exec", self.name, *command],
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "TMPDIR": os.environ["TMPDIR"], "PYTHONPATH": str(ROOT), **environ},
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        self._stack.callback(_end, process)
        return process

    def worker(self, name: str, url: str, **environ: str) -> subprocess.Popen[bytes]:
        """Run one worker of the fleet on it."""
        return self.run(sys.executable, "-P", "-m", "espfleet", "run", name, REDIS_URL=url, **environ)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(END_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Machines:
    """Some machines.

    Attributes:
        hosts: The machines, by what they are for.
        url: Of the Redis they use.
    """

    def __init__(self, bridge: str, hosts: dict[str, Host], url: str = "") -> None:
        self.hosts = hosts
        self.url = url
        self._bridge = bridge

    def cut(self, name: str) -> None:
        """Pull the cable of a machine."""
        self.hosts[name].cable(self._bridge, up=False)

    def mend(self, name: str) -> None:
        """Plug it in again."""
        self.hosts[name].cable(self._bridge, up=True)


@contextlib.contextmanager
def bare_machines(folder: Path, *names: str) -> Iterator[Machines]:
    """Make machines of these names, on which nothing runs; this process is none of them."""
    bridge = f"efm{os.getpid()}"
    with ExitStack() as stack:
        ip("netns", "add", bridge)
        stack.callback(ip, "netns", "del", bridge)
        ip("-n", bridge, "link", "add", "br0", "type", "bridge")
        ip("-n", bridge, "link", "set", "br0", "up")
        hosts = {name: Host(f"{bridge}-{number}", number, stack, folder) for number, name in enumerate(names, start=1)}
        for host in hosts.values():
            host.plug_in(bridge)
        yield Machines(bridge, hosts)


@contextlib.contextmanager
def machines(folder: Path, *names: str) -> Iterator[Machines]:
    """Make machines of these names, and one more with Redis."""
    with bare_machines(folder, "redis", *names) as made:
        redis = made.hosts["redis"]
        serve_redis(redis, folder / "redis.sock")
        made.url = f"redis://{redis.address}:{REDIS_PORT}"
        yield made


def serve_redis(host: Host, socket: Path, *options: str) -> None:
    """Run a Redis on a machine, which this process reaches by a file."""
    folder = socket.with_suffix("")
    folder.mkdir()
    host.run(
        find_server(), *options, "--bind", host.address, "--port", str(REDIS_PORT), "--protected-mode", "no",
        "--unixsocket", str(socket), "--dir", str(folder), "--save", "",
    )  # fmt: skip

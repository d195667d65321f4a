"""Networks of known delays for benches: C programs of ``bench/emulator``, compiled when they are needed.

The kernel's own emulator (sch_netem) is not everywhere; a TUN device is.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SOURCES = Path(__file__).parent / "emulator"
DEVICE = "efnet"
#: Half of the addresses that behave alike: 10.99.WAY.2 to .251, then 10.99.(WAY + 16).2 and so on.
HOSTS_PER_NET = 250
#: Ways to behave, as DELAYS of network.c has them.
WAYS = {1: "0.2 ms", 2: "5 ms", 3: "20 ± 2 ms", 4: "20 ms, 3 % lost"}


def missing() -> str:
    """Return what this machine lacks for an emulated network, or ``""``."""
    for program in ("gcc", "ip"):
        if not shutil.which(program):
            return f"needs {program}"
    return "" if os.access("/dev/net/tun", os.R_OK | os.W_OK) else "needs /dev/net/tun"


@contextmanager
def emulated_network(seconds: int, core: int | None = None) -> Iterator[None]:
    """Run the network in the present namespace.

    Args:
        seconds: It ends by itself after this time.
        core: The core it runs on.
    """
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "network"
        subprocess.run(["gcc", "-O2", "-o", program, SOURCES / "network.c"], check=True)
        command = [str(program), DEVICE, str(seconds)]
        if core is not None:
            command = ["taskset", "-c", str(core), *command]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as network:
            try:
                assert network.stdout is not None
                if network.stdout.readline() != "ready\n":
                    raise OSError("the emulated network did not start")
                for words in (f"addr add 10.99.0.1/16 dev {DEVICE}", f"link set {DEVICE} up txqueuelen 10000"):
                    subprocess.run(["ip", *words.split()], check=True)
                yield
            finally:
                network.terminate()


def hosts(way: int, count: int) -> list[str]:
    """Return addresses that behave in one way."""
    return [f"10.99.{way + 16 * (number // HOSTS_PER_NET)}.{2 + number % HOSTS_PER_NET}" for number in range(count)]


def all_hosts(count: int) -> list[str]:
    """Return up to 64,000 addresses of all ways to behave; those without a way of their own answer at once."""
    return [f"10.99.{number // HOSTS_PER_NET}.{2 + number % HOSTS_PER_NET}" for number in range(count)]

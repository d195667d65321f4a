"""Where memory goes: of a lamp in its gateway, and of the lamp's own program; kept in ``docs/profiles/``.

``python -m bench.weighing FILE run gateway`` runs espfleet and counts what Python takes; at each SIGUSR1 it is written
to the file. Counting takes time and memory: the figures of ``docs/performance.md`` are weighed without it.
"""

from __future__ import annotations

import asyncio
import json
import linecache
import os
import runpy
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from bench import tls_memory
from bench.gateway import open_lamp
from bench.reply_to_lamp import ROOT, wait_for_port
from bench.stage import Stage, stage
from esp32 import build
from tests.firmware.boards import Firmware
from tests.ports import free_port

#: They say nothing, for which they are closed after half a minute.
LAMPS = 200
#: So many come first, for whom the gateway loads what it needs for any.
FIRST = 30
WRITTEN_S = 30.0
TOP = 12
#: Bytes of a word here, over those of a word on a chip.
SCALE = 2

Weights = Mapping[str, int]


def gateway_memory() -> str:
    """Idle lamps, without and with TLS: what Python takes for each of them, by the line that asked for it."""
    plain, encrypted = (weigh_gateway(tls=tls) for tls in (False, True))
    return f"without TLS: {table(plain, LAMPS, 'line')}\nwith TLS: {table(encrypted, LAMPS, 'line')}"


def weigh_gateway(*, tls: bool) -> Weights:
    """Return what lamps took in one gateway, bytes by line."""

    async def one_run() -> Weights:
        async with stage(FIRST + LAMPS) as ready:
            return await asyncio.to_thread(counted, ready, tls)

    return asyncio.run(one_run())


def counted(ready: Stage, tls: bool) -> Weights:
    """Run a gateway that counts, connect all lamps, and return what is more than before, bytes by line."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ef") as home:
        told = Path(home) / "told.json"
        environ = {**os.environ, "REDIS_URL": ready.url, "SERVER_PORT": str(port), "PYTHONPATH": str(ROOT)}
        environ |= {"ESPFLEET_HOME": home, "TLS": "on" if tls else "off"}
        command = [sys.executable, "-P", "-m", "bench.weighing", str(told), "run", "gateway"]
        quiet = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=home, env=environ, stdin=quiet, stdout=quiet, stderr=quiet) as process:
            try:
                wait_for_port(port)
                time.sleep(2)
                context = trusting(Path(home)) if tls else None
                lamps: list[socket.socket] = []
                for hello in ready.hellos:
                    if len(lamps) == FIRST:
                        time.sleep(2)
                        before = ask(process.pid, told)
                    opened = tls_memory.open_lamp(context, port, hello) if context else open_lamp(port, "/lamp", hello)
                    lamps.append(opened)
                time.sleep(2)
                after = ask(process.pid, told)
                for lamp in lamps:
                    lamp.close()
            finally:
                process.kill()
    more: Counter[str] = Counter()
    for place, taken in after.items():
        more[named(place)] += taken - before.get(place, 0)
    return +more


def trusting(home: Path) -> ssl.SSLContext:
    """Return a context that trusts the fleet of a folder."""
    context = ssl.create_default_context()
    (authority,) = (home / ".espfleet").rglob("ca.pem")
    context.load_verify_locations(authority)
    return context


def ask(pid: int, told: Path) -> dict[str, int]:
    """Let a process write what it has taken, and return it."""
    told.unlink(missing_ok=True)
    os.kill(pid, signal.SIGUSR1)
    end_s = time.monotonic() + WRITTEN_S
    while not told.exists():
        assert time.monotonic() < end_s, "the gateway does not tell what it has taken"
        time.sleep(0.05)
    found: dict[str, int] = json.loads(told.read_text())
    return found


def tell(file: Path) -> None:
    """Write what this process has taken, by file and line."""
    own = [tracemalloc.Filter(False, tracemalloc.__file__), tracemalloc.Filter(False, __file__)]
    found = tracemalloc.take_snapshot().filter_traces(own).statistics("lineno")
    new = file.with_suffix(".new")
    new.write_text(json.dumps({f"{one.traceback[0].filename}:{one.traceback[0].lineno}": one.size for one in found}))
    new.replace(file)


def named(place: str) -> str:
    """Return a place by what stands there: the number of its line would be another tomorrow."""
    name, _, line = place.rpartition(":")
    return f"{'/'.join(Path(name).parts[-2:])}: {linecache.getline(name, int(line)).strip()[:72] or 'code'}"


def firmware() -> str:
    """The lamp's program: heap that its modules take when they are loaded, in bytes of a chip."""
    with tempfile.TemporaryDirectory() as folder:
        built = Firmware(Path(folder))
        build.build(built.folder)
        for source in (build.SOURCE / "fakes").glob("*.py"):
            build.compiled(source, built.folder / "fakes" / f"{source.stem}.mpy")
        told = asyncio.run(built.run("load.py", folder=built.folder))
    found = {name: int(taken) // SCALE for name, taken in (line.split() for line in told.splitlines())}
    return f"loaded: {table(found, 1, 'module')}"


def table(taken: Weights, things: int, what: str) -> str:
    """Return what was taken for each of some things, as text: the most first, and the rest together."""
    rows = sorted(taken.items(), key=lambda item: -item[1])
    whole = max(sum(taken.values()), 1)
    if len(rows) > TOP:
        rows = [*rows[:TOP], (f"{len(rows) - TOP} others", sum(size for _, size in rows[TOP:]))]
    lines = [f"{size / things:7,.0f} {size / whole:6.1%}  {name}" for name, size in rows]
    return "\n".join([f"{whole / things:,.0f} bytes each", "", f"  bytes  share  {what}", *lines, ""])


if __name__ == "__main__":
    file, sys.argv[1:] = sys.argv[1], sys.argv[2:]
    signal.signal(signal.SIGUSR1, lambda *_: tell(Path(file)))
    tracemalloc.start()
    runpy.run_module("espfleet", run_name="__main__")

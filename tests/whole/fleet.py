"""A whole fleet as users run it: ``up`` in a folder of its own, asked by commands."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.own_time import calm_s
from tests.ports import free_port

ROOT = Path(__file__).parents[2]


class Fleet:
    """A fleet in one folder."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        self.port = int(settings.setdefault("SERVER_PORT", str(free_port())))
        self.web_port = int(settings.setdefault("WEB_PORT", str(free_port())))
        self.environ = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "ESPFLEET_HOME": str(home),
            "TMPDIR": tempfile.gettempdir(),
            **settings,
        }

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-P", "-m", "espfleet", *words]

    def type(self, *words: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.command(*words), env=self.environ, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def ask(self, *words: str) -> Any:
        """Return the JSON answer of a command."""
        told = self.type(*words)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    def devices(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("devices")}

    def levels(self) -> dict[str, dict[str, Any]]:
        return {row["name"]: row for row in self.ask("levels")}

    def devices_by_web(self) -> dict[str, dict[str, Any]]:
        """Return what the web says of each device, at a hundredth of a command's cost; nothing while it is away."""
        with contextlib.suppress(requests.RequestException, KeyError):
            rows = requests.get(f"http://127.0.0.1:{self.web_port}/api/devices", timeout=30).json()["items"]
            return {row["name"]: row for row in rows}
        return {}

    @contextmanager
    def up(self, *options: str) -> Iterator[Up]:
        """Run ``up`` for a while; afterwards it must end by itself, in time, and leave nothing behind."""
        running = Up(self, options)
        try:
            yield running
        finally:
            running.stop()

    def processes(self) -> dict[str, list[int]]:
        """Return the process ids of this fleet by worker; ``redis`` is the embedded server."""
        found: dict[str, list[int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                environ = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
            except OSError:
                continue
            if "valkey-server" in words[0] and f":{self.home}/" in words[0]:
                found.setdefault("redis", []).append(int(folder.name))
            elif f"ESPFLEET_HOME={self.home}" in environ and "espfleet" in words:
                found.setdefault(" ".join(words[words.index("espfleet") + 1 :]).strip(), []).append(int(folder.name))
        return found


class Up:
    """One run of ``up``; what it says is kept in a file."""

    def __init__(self, fleet: Fleet, options: Sequence[str]) -> None:
        self.fleet = fleet
        self.log = fleet.home / "up.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                fleet.command("up", *options), env=fleet.environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def said(self) -> str:
        return self.log.read_text()

    def kill(self, worker: str) -> None:
        """Kill a worker at once, as the kernel does when memory is short."""
        name = worker if worker == "redis" else f"run {worker}"
        (pid,) = self.fleet.processes()[name]
        os.kill(pid, signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM, within_s: float = 10.0) -> float:
        """Tell it to stop; return how long that took."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            self.process.wait(within_s)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
        return time.monotonic() - began


class Workers:
    """Worker processes of one fleet, without ``up``."""

    def __init__(self, fleet: Fleet, stack: ExitStack) -> None:
        self.fleet = fleet
        self._stack = stack
        self.log = fleet.home / "workers.log"

    def start(self, *words: str, **settings: str) -> subprocess.Popen[bytes]:
        """Start a worker, with settings of its own."""
        log = self._stack.enter_context(self.log.open("ab"))
        environ = {**self.fleet.environ, **settings}
        process = subprocess.Popen(
            self.fleet.command("run", *words), env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
        )
        self._stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()
            process.wait()


def wait_for(predicate: Callable[[], Any], timeout_s: float, what: Callable[[], object]) -> Any:
    """Return the first true value of ``predicate``; fail after ``timeout_s`` with what ``what`` returns then.

    Time in which the machine kept somebody waiting counts a quarter.
    """
    end, calm_end = time.monotonic() + 4 * timeout_s, calm_s() + timeout_s
    while True:
        asked = time.monotonic()
        value = predicate()
        if value:
            return value
        assert min(calm_end - calm_s(), end - time.monotonic()) > 0, f"not within {timeout_s:g} s: {what()}"
        # Whoever asks with commands leaves the workers that it waits for some of the machine.
        time.sleep(min(max(0.05, (time.monotonic() - asked) / 2), 0.5))

"""A board of a test: the real firmware under the real MicroPython, with hardware that is made of files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from asyncio.subprocess import PIPE, STDOUT, Process
from pathlib import Path
from typing import Any

from tests.ports import free_port

#: Heap that MicroPython gets, times its word size: as much as a chip of 32 bits has in 64 kB.
HEAP = "64wk"
#: With what the fakes exit for a reset.
RESET = 86

HERE = Path(__file__).parent


def micropython() -> Path:
    """Return the interpreter: that of the environment, unless ``MICROPYTHON`` names another."""
    return Path(os.environ.get("MICROPYTHON") or Path(sys.executable).parent / "micropython")


class Firmware:
    """What was built: the lamp's program and the fakes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, script: Path, *words: object, heap: str = HEAP) -> list[str]:
        return [str(micropython()), "-X", f"heapsize={heap}", str(script), *map(str, words)]

    def environment(self, world: Path) -> dict[str, str]:
        path = f"{self.folder / 'fakes'}:{self.folder}:.frozen"
        return {"MICROPYPATH": path, "FAKE_WORLD": str(world), "PATH": os.environ["PATH"]}

    async def run(self, script: str, *words: object, folder: Path, timeout_s: float = 30.0, heap: str = HEAP) -> str:
        """Run one of ``scripts`` to its end and return what it printed."""
        process = await asyncio.create_subprocess_exec(
            *self.command(HERE / "scripts" / script, *words, heap=heap),
            cwd=folder,
            env=self.environment(folder),
            stdout=PIPE,
            stderr=STDOUT,
        )
        try:
            async with asyncio.timeout(timeout_s):
                out, _ = await process.communicate()
        finally:
            await _end(process)
        text = out.decode()
        assert process.returncode == 0, text
        return text


class Board:
    """One board: it keeps its files from one start to the next, and starts again when it resets itself."""

    def __init__(self, firmware: Firmware, folder: Path, script: Path | None = None) -> None:
        self.firmware = firmware
        self.folder = folder
        self.lines: list[str] = []
        self.exit_code: int | None = None
        self.starts = 0
        #: After the line that was found last.
        self.at = 0
        #: Of its own pages.
        self.port = free_port()
        self.script = script or firmware.folder / "main.py"
        self._changed = asyncio.Event()
        self._process: Process | None = None
        self._task: asyncio.Task[None] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    # What a test does to it

    def set(self, **settings: Any) -> None:
        """Upload settings."""
        usual = {"networks": [{"ssid": "home", "password": "home-secret"}], "token": "secret", "http_port": self.port}
        (self.folder / "settings.json").write_text(json.dumps(usual | settings))

    def world(self, name: str, text: str) -> None:
        """Change something around the board; see ``fakes/_world.py``."""
        new = self.folder / f"{name}.test"
        new.write_text(text)
        new.replace(self.folder / name)

    def power_on(self) -> None:
        """Start it."""
        self.world("cause", "1")
        (self.folder / "rtc").unlink(missing_ok=True)
        self.restart()

    def restart(self) -> None:
        """Start it as after a reset."""
        self._task = asyncio.create_task(self._run(), name=f"board {self.folder.name}")

    async def power_off(self) -> None:
        """Stop it, in the middle of whatever it does."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def interrupt(self) -> None:
        """Press Ctrl-C on its serial line."""
        self.signal(signal.SIGINT)

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def files(self) -> set[str]:
        """Return what the process has open beside its standard streams."""
        assert self._process is not None
        folder = Path(f"/proc/{self._process.pid}/fd")
        found = set()
        for one in folder.iterdir():
            # It may be closed by now.
            with contextlib.suppress(FileNotFoundError):
                if int(one.name) > 2:
                    found.add(str(one.readlink()))
        return found

    # What it says

    @property
    def said(self) -> int:
        """How many lines it has printed."""
        return len(self.lines)

    async def line(self, pattern: str, since: int = 0, timeout_s: float = 60.0) -> re.Match[str]:
        """Return the first line, from line ``since`` on, that holds a pattern; wait for it."""
        end = time.monotonic() + timeout_s
        while True:
            self._changed.clear()
            while since < len(self.lines):
                found = re.search(pattern, self.lines[since])
                since += 1
                if found:
                    self.at = since
                    return found
            left = end - time.monotonic()
            told = "\n".join(line for line in self.lines if not line.startswith("@pwm"))
            assert left > 0, f"not within {timeout_s} s: {pattern}\n{told[-3_000:]}"
            assert self.exit_code is None or self.exit_code == RESET, f"ended with {self.exit_code}:\n{told[-3_000:]}"
            try:
                await asyncio.wait_for(self._changed.wait(), left)
            except TimeoutError:
                continue

    def last(self, beginning: str) -> str:
        """Return the last line that begins so, or ``""``."""
        return next((line for line in reversed(self.lines) if line.startswith(beginning)), "")

    def pwm(self, pin: int) -> int:
        """Return what a pin was fed with last."""
        words = self.last(f"@pwm {pin} ").split()
        return int(words[2]) if words else 0

    def light(self) -> tuple[int, int, int]:
        """Return what green, orange and red are fed with, 0 to 65535."""
        return self.pwm(18), self.pwm(19), self.pwm(4)

    async def _run(self) -> None:
        while True:
            self.starts += 1
            self.exit_code = None
            self._process = await asyncio.create_subprocess_exec(
                *self.firmware.command(self.script),
                cwd=self.folder,
                env=self.firmware.environment(self.folder),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=STDOUT,
            )
            try:
                assert self._process.stdout is not None
                async for line in self._process.stdout:
                    self.lines.append(line.decode(errors="replace").rstrip())
                    self._changed.set()
                self.exit_code = await self._process.wait()
            finally:
                await _end(self._process)
            self._changed.set()
            if self.exit_code != RESET:
                return


async def _end(process: Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()

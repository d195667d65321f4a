"""The lamps of a bench: one process of C, so that it is not what is measured."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.servers import compiled


class Lamps:
    """Lamps that run; commands are those of ``lamps.c``."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def tell(self, command: str) -> None:
        """Give a command."""
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Return the next answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the lamps have ended"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def ask(self, command: str) -> dict[str, Any]:
        """Give a command and return its answer."""
        self.tell(command)
        return self.answer()

    async def asked(self, command: str) -> dict[str, Any]:
        """Give a command and return its answer, while other tasks go on."""
        return await asyncio.to_thread(self.ask, command)


@contextmanager
def lamps(folder: Path, port: int, hellos: Sequence[str], kind: str = "ws", path: str = "/lamp") -> Iterator[Lamps]:
    """Run lamps that say these hellos; they connect when told to.

    Args:
        folder: Where the program and the hellos are put.
        port: Where they connect.
        hellos: One a lamp; ``""`` says nothing.
        kind: ``ws`` or ``mqtt``.
        path: Path of the URL.
    """
    file = folder / f"hellos-{port}"
    file.write_text("".join(hello + "\n" for hello in hellos))
    command = [str(compiled("lamps", folder)), str(port), path, str(file), kind]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Lamps(process)
        finally:
            process.kill()

"""Lamps that run the lamp's real program, in a MicroPython for this machine, on hardware that is made of files."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from espfleet.errors import StartError
from espfleet.simulator.fleet import HOST
from espfleet.simulator.specs import LampSpec

#: As much as a chip of 32 bits has in 64 kB: MicroPython multiplies by the size of its own words.
HEAP = "64wk"
#: With what the fakes of a chip exit for a reset.
RESET = 86
MOST_FIRMWARES = 32
#: Starts the program where there is no chip.
STARTER = "_start.py"
#: A program that ends by itself so often in a row will not run.
_STARTS = 3
_LISTENING_S = 20.0
_LOOK_S = 0.05
#: In a world without radio any name does.
_NETWORKS = [{"ssid": "simulated", "password": ""}]

Say = Callable[[LampSpec, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What such lamps are made of.

    Attributes:
        micropython: The interpreter.
        folder: Holds the compiled program with its ``STARTER``, and in ``fakes`` the hardware.
    """

    micropython: Path
    folder: Path


class FirmwareLamp:
    """One lamp: a folder that is its flash, and a process that starts again when it resets itself.

    Args:
        spec: Who it is; its port must be set.
        program: What it runs.
        folder: Its own; it is made.
        say: Called with each line that the lamp prints for people.
    """

    def __init__(self, spec: LampSpec, program: Program, folder: Path, say: Say) -> None:
        self.spec = spec
        self._program = program
        self._folder = folder
        self._say = say
        self._last = ""

    @property
    def address(self) -> str:
        """``HOST:PORT`` of its own pages."""
        return f"{HOST}:{self.spec.port}"

    def set_up(self, gateway_url: str, ca: bytes = b"") -> None:
        """Write what a new lamp is told by cable."""
        self._folder.mkdir(parents=True, mode=0o700)
        settings: dict[str, Any] = {
            "name": self.spec.name,
            "networks": _NETWORKS,
            "gateway": self.spec.gateway_url or gateway_url,
            "http_port": self.spec.port,
        }
        if self.spec.token is not None:
            settings["token"] = self.spec.token
        (self._folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
        (self._folder / "id").write_text(self.spec.id, encoding="utf-8")
        if ca:
            (self._folder / "ca.der").write_bytes(ca)

    async def run(self) -> None:
        """Run until cancelled.

        Raises:
            StartError: If the program ends by itself, again and again.
        """
        ended = 0
        while ended < _STARTS:
            process = await self._start()
            try:
                ended = 0 if await self._listen(process) == RESET else ended + 1
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        raise StartError(f"the program of {self.spec.name} ends by itself: {self._last or 'without a word'}")

    async def listening(self) -> None:
        """Wait until it serves its pages.

        Raises:
            StartError: If it does not, in time.
        """
        try:
            async with asyncio.timeout(_LISTENING_S):
                await _answering(self.spec.port)
        except TimeoutError:
            raise StartError(f"{self.spec.name} does not serve its pages: {self._last or 'no word from it'}") from None

    async def _start(self) -> Process:
        folder = self._program.folder
        try:
            return await asyncio.create_subprocess_exec(
                str(self._program.micropython),
                "-X",
                f"heapsize={HEAP}",
                str(folder / STARTER),
                cwd=self._folder,
                env={
                    "MICROPYPATH": f"{folder / 'fakes'}:{folder}:.frozen",
                    "FAKE_WORLD": str(self._folder),
                    "PATH": os.environ.get("PATH", os.defpath),
                },
                stdin=DEVNULL,
                # It prints all the time; should this process be killed, the broken pipe ends it too.
                stdout=PIPE,
                stderr=STDOUT,
            )
        except OSError as exc:
            raise StartError(f"{self._program.micropython} cannot be run: {exc.strerror}") from exc

    async def _listen(self, process: Process) -> int:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode(errors="replace").rstrip()
            # What it does to its hardware is not for people.
            if text and not text.startswith("@"):
                self._last = text[:200]
                self._say(self.spec, text)
        return await process.wait()


class Firmwares:
    """Several such lamps.

    Args:
        lamps: Each with a port of its own.
    """

    def __init__(self, lamps: Sequence[FirmwareLamp]) -> None:
        self.lamps = lamps

    async def run(self, when_started: Callable[[], None]) -> None:
        """Run until cancelled, and do something once all serve their pages; no process is left behind.

        Raises:
            StartError: If one does not start.
        """
        async with asyncio.TaskGroup() as tasks:
            for lamp in self.lamps:
                tasks.create_task(lamp.run(), name=f"firmware {lamp.spec.name}")
            for lamp in self.lamps:
                await lamp.listening()
            when_started()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody uses at this moment."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]


async def _answering(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await asyncio.sleep(_LOOK_S)
            continue
        writer.close()
        return

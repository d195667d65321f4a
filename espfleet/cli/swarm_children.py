"""The processes of ``simulate --lamps`` where one may not have, or not do, enough: started, asked, and ended."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from espfleet.cli.swarm_child import BEGIN, ERROR, LOOK, Order
from espfleet.errors import StartError
from espfleet.simulator.swarm.sight import Sight

#: An answer holds the time of each change since the last look, a few bytes a lamp.
_ANSWER_BYTES = 64 * 2**20
#: How long lamps may say goodbye.
_END_S = 10.0


class Children:
    """Processes that run lamps, each its share."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes

    def __len__(self) -> int:
        return len(self._processes)

    async def begin(self, at_s: float) -> None:
        """Let the script begin.

        Args:
            at_s: When, on the clock that all processes of this machine share.
        """
        await self._say(f"{BEGIN} {at_s}")

    async def look(self) -> list[Sight]:
        """Return what each of them sees.

        Raises:
            StartError: If one of them has ended.
        """
        await self._say(LOOK)
        return [Sight.from_dict(answer) for answer in await self.answers()]

    async def answers(self) -> list[dict[str, Any]]:
        """Return the next answer of each of them.

        Raises:
            StartError: If one of them has ended, or cannot do what it was told.
        """
        return await asyncio.gather(*map(_answer, self._processes))

    async def end(self) -> None:
        """Let all lamps say goodbye, and wait for the processes to end."""
        for process in self._processes:
            _input(process).close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.gather(*(process.wait() for process in self._processes))

    async def _say(self, line: str) -> None:
        for process in self._processes:
            _input(process).write(f"{line}\n".encode())
        # One that has ended is found out when it does not answer.
        with contextlib.suppress(ConnectionError):
            await asyncio.gather(*(_input(process).drain() for process in self._processes))


@asynccontextmanager
async def children(orders: Sequence[Order]) -> AsyncIterator[Children]:
    """Run a process for each order, until the block ends.

    Raises:
        StartError: If one of them cannot do what it was told.
    """
    processes: list[Process] = []
    try:
        for order in orders:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "espfleet.cli.swarm_child", stdin=PIPE, stdout=PIPE, limit=_ANSWER_BYTES,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                # Ctrl-C is for us to hear: they end when we do, however we end.
                start_new_session=True,
            )  # fmt: skip
            processes.append(process)
            _input(process).write(json.dumps(asdict(order)).encode() + b"\n")
        started = Children(processes)
        await started.answers()
        yield started
    finally:
        for process in processes:
            _input(process).close()
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await process.wait()


async def _answer(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        code = await process.wait()
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        raise StartError(f"a process that runs lamps of this test has ended ({how})")
    answer: dict[str, Any] = json.loads(line)
    if ERROR in answer:
        raise StartError(answer[ERROR])
    return answer


def _input(process: Process) -> asyncio.StreamWriter:
    assert process.stdin is not None
    return process.stdin

"""Tests that run at the same time: lamps wait most of their time, and so would whoever tests them one by one."""

from __future__ import annotations

import asyncio
import fcntl
import json
import ssl
import traceback
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import pytest

from tests.firmware.boards import Board, Firmware
from tests.firmware.certificates import Authority, server_context

#: Lamps that run at the same time would else have too little of the processor to be on time.
AT_ONCE = 18
#: All of them together, also where the processor has much else to do; each has time-outs of its own.
ALL_WITHIN_S = 300
#: Those of these files wait longest, and so begin first.
PATIENT = ("test_link", "test_updates", "test_portal")


class Boards:
    """Makes the boards of one test, and switches them off at its end.

    Attributes:
        ca: Who signs the certificates of the fleet.
    """

    def __init__(self, firmware: Firmware, folder: Path, ca: Authority) -> None:
        self.ca = ca
        self.folder = folder
        self.firmware = firmware
        self._made: list[Board] = []

    def __call__(self, script: Path | None = None, **settings: object) -> Board:
        board = Board(self.firmware, self.folder / f"board-{len(self._made) + 1}", script)
        if settings:
            board.set(**settings)
        self._made.append(board)
        return board

    def tls(self, signer: Authority | None = None, **how: object) -> ssl.SSLContext:
        """Return a server's side of TLS, with a certificate as wanted."""
        return server_context(signer or self.ca, self.folder, **how)

    async def off(self) -> None:
        for board in self._made:
            await board.power_off()


Scenario = Callable[[Boards], Awaitable[None]]
SCENARIOS: dict[str, Scenario] = {}


def together(scenario: Scenario) -> Callable[[Outcomes], None]:
    """Make a test of a coroutine function that takes ``Boards``, to be run together with all others."""
    name = f"{scenario.__module__}.{scenario.__name__}"  # type: ignore[attr-defined]
    SCENARIOS[name] = scenario

    def test(outcomes: Outcomes) -> None:
        outcomes.check(name)

    test.__name__ = test.__qualname__ = scenario.__name__  # type: ignore[attr-defined]
    test.__doc__ = scenario.__doc__
    test.scenario = name  # type: ignore[attr-defined]
    # Whichever of them is the first waits for all.
    return pytest.mark.timeout(ALL_WITHIN_S)(test)


class Outcomes:
    """How the tests ended that ran together: with nothing, or with the traceback of what went wrong."""

    def __init__(self, ended: dict[str, str]) -> None:
        self.ended = ended

    def check(self, name: str) -> None:
        if self.ended[name]:
            pytest.fail(self.ended[name], pytrace=False)


def wanted(items: Collection[pytest.Item]) -> list[str]:
    """Return the scenarios of the tests that were chosen."""
    chosen = [getattr(getattr(item, "function", None), "scenario", None) for item in items]
    return [name for name in chosen if name]


def once(folder: Path, run: Callable[[], Outcomes]) -> Outcomes:
    """Run them in the first of the processes that ask for it in a folder; the others wait for its outcomes."""
    told = folder / "together.json"
    with (folder / "together.gate").open("w") as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if told.exists():
            return Outcomes(json.loads(told.read_text()))
        outcomes = run()
        told.write_text(json.dumps(outcomes.ended))
        return outcomes


async def run(names: Collection[str], firmware: Firmware, folder: Path, ca: Authority) -> Outcomes:
    """Run scenarios, each in a folder of its own."""
    free = asyncio.Semaphore(AT_ONCE)
    ended: dict[str, str] = {}

    async def one(number: int, name: str) -> None:
        boards = Boards(firmware, folder / str(number), ca)
        boards.folder.mkdir()
        async with free:
            try:
                await SCENARIOS[name](boards)
                ended[name] = ""
            except Exception:  # noqa: BLE001
                ended[name] = traceback.format_exc()
            finally:
                await boards.off()

    ordered = sorted(names, key=lambda name: not any(part in PATIENT for part in name.split(".")))
    await asyncio.gather(*(one(number, name) for number, name in enumerate(ordered)))
    return Outcomes(ended)

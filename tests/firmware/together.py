"""Tests that run at the same time: lamps wait most of their time, and so would whoever tests them one by one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import pytest

from tests.firmware.boards import Board, Firmware
from tests.firmware.certificates import Authority, server_context

#: Lamps that run at the same time would else have too little of the processor to be on time.
AT_ONCE = 14


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
    return test


class Outcomes:
    """How the tests ended that ran together."""

    def __init__(self, ended: dict[str, BaseException | None]) -> None:
        self._ended = ended

    def check(self, name: str) -> None:
        error = self._ended[name]
        if error is not None:
            raise error


def wanted(items: Collection[pytest.Item]) -> list[str]:
    """Return the scenarios of the tests that were chosen."""
    chosen = [getattr(getattr(item, "function", None), "scenario", None) for item in items]
    return [name for name in chosen if name]


async def run(names: Collection[str], firmware: Firmware, folder: Path, ca: Authority) -> Outcomes:
    """Run scenarios, each in a folder of its own."""
    free = asyncio.Semaphore(AT_ONCE)
    ended: dict[str, BaseException | None] = {}

    async def one(number: int, name: str) -> None:
        boards = Boards(firmware, folder / str(number), ca)
        boards.folder.mkdir()
        async with free:
            try:
                await SCENARIOS[name](boards)
                ended[name] = None
            except Exception as exc:  # noqa: BLE001
                ended[name] = exc
            finally:
                await boards.off()

    # Those that wait longest begin first: the link's.
    ordered = sorted(names, key=lambda name: "test_link" not in name)
    await asyncio.gather(*(one(number, name) for number, name in enumerate(ordered)))
    return Outcomes(ended)

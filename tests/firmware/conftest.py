"""MicroPython for the tests of the lamp's program, and what is around a lamp."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
# The lamp's own modules by the names that they have on the lamp, and a stand-in for what CPython does not have.
sys.path[:0] = [str(ROOT / "esp32"), str(Path(__file__).parent / "cpython")]

from esp32 import build  # noqa: E402
from tests.firmware import together  # noqa: E402
from tests.firmware.boards import Firmware, micropython  # noqa: E402
from tests.firmware.certificates import Authority, authority  # noqa: E402
from tests.firmware.together import Boards, Outcomes  # noqa: E402
from tests.gateway.conftest import fleet as fleet  # noqa: E402
from tests.gateway.conftest import start as start  # noqa: E402

FAKES = build.SOURCE / "fakes"


@pytest.fixture(scope="session")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """Compile the program as it goes onto a lamp, and the fakes."""
    if not micropython().exists():
        reason = "there is no MicroPython for this machine: set MICROPYTHON to one that you built"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    folder = tmp_path_factory.mktemp("firmware")
    build.build(folder)
    for source in FAKES.glob("*.py"):
        build.compiled(source, folder / "fakes" / f"{source.stem}.mpy")
    return Firmware(folder)


@pytest.fixture(scope="session")
def ca() -> Authority:
    """Return who signs the certificates of the fleet."""
    return authority()


@pytest.fixture
async def boards(firmware: Firmware, tmp_path: Path, ca: Authority) -> AsyncIterator[Boards]:
    """Return what makes boards; all are off at the end."""
    made = Boards(firmware, tmp_path, ca)
    yield made
    await made.off()


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, firmware: Firmware, ca: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Outcomes:
    """Run the tests that may run together, once, however many processes the files are spread over."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    names = together.wanted(request.session.items)
    boards = tmp_path_factory.mktemp("together")
    return together.once(folder, lambda: asyncio.run(together.run(names, firmware, boards, ca)))

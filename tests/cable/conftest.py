"""Boards on cables."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cable.plugged import Cable, PluggedBoard
from tests.firmware.boards import micropython

Plug = Callable[..., PluggedBoard]


@pytest.fixture
def plug(tmp_path: Path) -> Iterator[Plug]:
    """Return what plugs boards in; all are unplugged at the end."""
    if not micropython().exists():
        reason = "there is no MicroPython for this machine: set MICROPYTHON to one that you built"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    plugged: list[PluggedBoard] = []

    def plug(**options: object) -> PluggedBoard:
        plugged.append(PluggedBoard(tmp_path / f"board{len(plugged)}", **options))  # type: ignore[arg-type]
        return plugged[-1]

    yield plug
    for board in plugged:
        board.close()


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    """Return a port with nothing behind it."""
    made = Cable(tmp_path / "cable")
    yield made
    made.close()

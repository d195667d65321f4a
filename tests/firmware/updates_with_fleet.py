"""``./espcli device NAME update_firmware``: a real lamp, a real gateway, and the command line."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

from tests.firmware.conftest import ROOT
from tests.firmware.depots import files_of
from tests.firmware.on_gateway import lamp_of
from tests.firmware.together import Boards
from tests.gateway.conftest import Fleet, Start


class Typist:
    """Types commands of a fleet, each in a process of its own."""

    def __init__(self, redis_url: str, home: Path) -> None:
        self._environment = {"PATH": os.environ["PATH"], "REDIS_URL": redis_url, "ESPFLEET_HOME": str(home)}

    async def __call__(self, *words: str, code: int = 0) -> Any:
        """Return what a command printed: JSON, or the sentence with which it failed."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            str(ROOT / "espcli"),
            *words,
            env=self._environment,
            cwd=ROOT,
            stdout=PIPE,
            stderr=PIPE,
        )
        try:
            async with asyncio.timeout(240):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == code, err.decode()
        return err.decode().strip() if code else json.loads(out)


def folder_of(boards: Boards, version: str, folder: Path, **sources: str) -> str:
    """Write a release as ``esp32/build.py`` does; return where it is."""
    files = files_of(boards.firmware, version, folder / f"source-{version}", **sources)
    for name, data in files.items():
        (folder / version / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / version / name).write_bytes(data)
    (folder / version / "VERSION").write_text(version + "\n")
    return str(folder / version)


async def updated(fleet: Fleet, boards: Boards, url: str, type_: Typist, folder: Path) -> None:
    """A good update, and what is refused before and after it."""
    board = await lamp_of(fleet, boards, url, 11)
    await board.line("light: level")
    before = await type_("device", "lamp-11", "firmware")
    assert before == {"name": "lamp-11", "firmware": "0.1.0", "chip": "ESP32", "update": None}
    older = folder_of(boards, "0.0.9", folder)
    refused = await type_("device", "lamp-11", "update_firmware", "--release", older, code=1)
    assert refused.endswith("lamp-11 was not updated: 0.0.9 is older than 0.1.0, which runs")
    newer = folder_of(boards, "0.2.0", folder)
    done = await type_("device", "lamp-11", "update_firmware", "--release", newer)
    assert done == {"name": "lamp-11", "firmware": "0.2.0", "slot": "a"}
    after = await type_("device", "lamp-11", "firmware")
    assert after["firmware"] == "0.2.0"
    assert (after["update"]["state"], after["update"]["version"]) == ("running", "0.2.0")


async def downgraded(fleet: Fleet, boards: Boards, url: str, type_: Typist, folder: Path) -> None:
    """An older version, because somebody says so."""
    board = await lamp_of(fleet, boards, url, 14)
    await board.line("light: level")
    older = folder_of(boards, "0.0.9", folder)
    done = await type_("device", "lamp-14", "update_firmware", "--release", older, "--downgrade")
    assert done == {"name": "lamp-14", "firmware": "0.0.9", "slot": "a"}


async def returned(fleet: Fleet, boards: Boards, url: str, type_: Typist, folder: Path) -> None:
    """A version that is no good."""
    board = await lamp_of(fleet, boards, url, 12)
    await board.line("light: level")
    bad = folder_of(boards, "0.3.0", folder, app="import nothing_like_that\n")
    sentence = await type_("device", "lamp-12", "update_firmware", "--release", bad, code=1)
    assert sentence.endswith("lamp-12 went back to what ran before: 0.3.0 was no good, it failed at 3 starts")
    await board.line("light: level", board.at)
    known = await type_("device", "lamp-12", "firmware")
    assert (known["firmware"], known["update"]["bad"]) == ("0.1.0", "0.3.0")


async def refused(fleet: Fleet, type_: Typist, folder: Path) -> None:
    """Lamps and releases that are not there."""
    await fleet.add("lamp-13", 13)
    (folder / "lamp").mkdir(parents=True)
    (folder / "VERSION").write_text("0.2.0")
    (folder / "lamp" / "app.mpy").write_bytes(b"")
    sentence = await type_("device", "lamp-13", "update_firmware", "--release", str(folder), code=1)
    assert sentence.endswith("lamp-13 was not updated: lamp-13 cannot be told: never seen")
    sentence = await type_("device", "lamp-13", "update_firmware", "--release", str(folder / "nothing"), code=1)
    assert f"{folder / 'nothing'} is no release: make one with" in sentence


async def firmware_is_updated_from_the_command_line(
    fleet: Fleet, start: Start, boards: Boards, redis_url: str, folder: Path
) -> None:
    gateway = await start(name="updating")
    type_ = Typist(redis_url, folder)
    await asyncio.gather(
        updated(fleet, boards, gateway.url, type_, folder / "good"),
        downgraded(fleet, boards, gateway.url, type_, folder / "old"),
        returned(fleet, boards, gateway.url, type_, folder / "bad"),
        refused(fleet, type_, folder / "none"),
    )

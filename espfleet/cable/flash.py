"""Writing MicroPython onto a chip: esptool, as a program of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Sequence

from espfleet.cable.images import Image
from espfleet.cable.port import check_port
from espfleet.errors import CableError

BAUD = 460_800
#: A chip that is not in its boot loader is asked so often, about a second each.
ATTEMPTS = 7
#: Erasing and writing 2 MB takes about a minute.
_WRITE_S = 300.0

Run = Callable[[Sequence[str], float], tuple[int, str]]

#: What esptool says, and what it means for the one who holds the board.
_MEANINGS = (
    (r"No serial data received|Failed to connect|Invalid head of packet|Wrong boot mode",
     "the chip does not answer: hold its BOOT button, press RESET, let BOOT go, and try once more"),
    (r"This chip is .*, not|Wrong chip argument", "the image is for another chip than the one on the board"),
    (r"could not open port|port is busy|exclusively lock", "the port is in use by another program"),
    (r"No module named", "esptool is missing: run './espcli setup'"),
)  # fmt: skip


def write_image(port: str, image: Image, run: Run | None = None) -> None:
    """Erase the flash of the chip at a port and write an image; all files of the board are gone then.

    Args:
        port: Where the board is.
        image: What to write.
        run: Runs a program and returns its exit code and what it said; for tests.

    Raises:
        PortError: If the port cannot be used.
        CableError: If it cannot be written; an image for another chip is refused by the chip's own number.
    """
    check_port(port)
    command = [sys.executable, "-m", "esptool", "--chip", image.chip, "--port", port, "--baud", str(BAUD)]
    command += ["--connect-attempts", str(ATTEMPTS)]
    command += ["write-flash", "--erase-all", hex(image.offset), str(image.path)]
    code, said = (run or _run)(command, _WRITE_S)
    if code != 0:
        raise CableError(f"MicroPython was not written: {_meaning(said)}")


def _meaning(said: str) -> str:
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, said):
            return meaning
    told = [line.strip() for line in said.splitlines() if line.strip()]
    return f"esptool says {told[-1][:200]!r}" if told else "esptool ended without a word"


def _run(command: Sequence[str], longest_s: float) -> tuple[int, str]:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=longest_s
        )
    except subprocess.TimeoutExpired:
        return 1, f"it was not done within {longest_s:g} s"
    return done.returncode, done.stdout + done.stderr

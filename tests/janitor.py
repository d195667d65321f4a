"""Ends what a run of the tests left behind, also when the run itself was killed: ``janitor.py FOLDER``.

It waits until its standard input ends, which happens when the run does, however it ends. Then it kills every process
that works in the run's folder or names it, and removes the folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def processes_of(folder: Path) -> dict[int, str]:
    """Return the processes that work in a folder or name it, with their command lines; this one left out."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            at_home = (process / "cwd").readlink().is_relative_to(folder)
            if words and (at_home or str(folder) in words) and int(process.name) != os.getpid():
                found[int(process.name)] = words
    return found


def main(folder: Path) -> None:
    """Wait for the end of the run, and clean up."""
    sys.stdin.read()
    for pid in processes_of(folder):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

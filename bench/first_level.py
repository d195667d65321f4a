"""From a fresh clone to the first level on a simulated lamp, with warm package caches."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.report import report
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent
CAP_S = 300.0
RUNS = 3


def main() -> None:
    report(
        "from a fresh clone to the first level on a simulated lamp, package caches warm",
        [one_run() for _ in range(RUNS)],
        bound="ours <= 30",
        unit="s",
    )


def one_run() -> float:
    """Return how long it takes, s."""
    with tempfile.TemporaryDirectory(prefix="ef clone ") as folder:
        began = time.monotonic()
        clone = Path(folder) / "espfleet"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True, timeout=60)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("ESPFLEET_", "REDIS"))}
        environ["SERVER_PORT"] = str(free_port())
        with subprocess.Popen(
            [str(clone / "espcli"), "up"],
            env=environ,
            cwd=clone,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as up:
            try:
                while not shows_a_level(clone, environ):
                    if time.monotonic() - began > 120 or up.poll() is not None:
                        raise RuntimeError("no lamp shows a level")
                return time.monotonic() - began
            finally:
                up.terminate()


def shows_a_level(clone: Path, environ: dict[str, str]) -> bool:
    """Return whether a lamp is live and shows a level; asks only once the set-up is done."""
    if not (clone / ".espfleet" / "lamps.json").exists():
        time.sleep(0.05)
        return False
    told = subprocess.run(
        [str(clone / "espcli"), "devices", "--json"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    devices = json.loads(told.stdout) if told.returncode == 0 else []
    return any(one["presence"] == "live" and one["state"] == "ok" for one in devices)


if __name__ == "__main__":
    main()

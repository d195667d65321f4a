"""Worker processes of this machine: started, started again when they die, and ended with whoever started them."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from espfleet.cli.stopping import SUPERVISED

logger = logging.getLogger(__name__)

#: Children get this long to end by themselves.
STOP_S = 1.5
#: A worker that dies is started again at once; one that dies again and again, after up to this time.
LONGEST_PAUSE_S = 5.0
#: A worker that ran so long is healthy.
HEALTHY_S = 10.0
WATCH_S = 0.1


@dataclass(eq=False)
class Child:
    """A worker process and how it fares.

    Attributes:
        worker: Which worker it is.
        options: What else is said on its command line.
    """

    worker: str
    options: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    again_s: float = 0.0
    pause_s: float = field(default=0.0)

    def start(self, now_s: float) -> None:
        """Start the process; its stdin ends with ours, whatever happens to us."""
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "espfleet", "run", self.worker, *self.options],
            stdin=subprocess.PIPE,
            env={**os.environ, SUPERVISED: "1", "PYTHONPATH": str(Path(__file__).parents[2])},
            start_new_session=True,
        )
        self.started_s = now_s

    def look(self, now_s: float) -> None:
        """Start the process again if it has ended and it is time."""
        if self.process is not None and (code := self.process.poll()) is not None:
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            self.pause_s = 0.0 if now_s - self.started_s > HEALTHY_S else min(self.pause_s * 2 + 0.2, LONGEST_PAUSE_S)
            logger.warning("%s has ended (%s); starting it again", self.worker, how)
            self.process = None
            self.again_s = now_s + self.pause_s
        if self.process is None and now_s >= self.again_s:
            self.start(now_s)


def end(children: Iterable[Child], within_s: float = STOP_S) -> None:
    """End all children: kindly, and after ``within_s`` not."""
    running = [child.process for child in children if child.process is not None]
    for process in running:
        process.terminate()
    until_s = time.monotonic() + within_s
    for process in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, until_s - time.monotonic()))
    for process in running:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()

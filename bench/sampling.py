"""Looking into a process while it works: which functions its time goes to."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Looks in a second: no more than there is time for on a busy machine.
RATE = 100
TOP = 12
#: Functions that wait in the kernel. Whoever wakes up is still seen there until a core is free.
WAITING = (
    "Condition.wait (threading.py)",
    "EpollSelector.select (selectors.py)",
    "Popen._wait (subprocess.py)",
    "_PollLikeSelector.select (selectors.py)",
    "_lives (espfleet/store/embedded.py)",
    "_rest (espfleet/gateway/patience.py)",
    "_worker (concurrent/futures/thread.py)",
)

#: Frames from outermost to innermost, and how often they were seen.
Stacks = Mapping[tuple[str, ...], float]


def spy() -> Path:
    """Return where the profiler is, if it is there."""
    return Path(sys.executable).parent / "py-spy"


def look(role: str, pid: int, for_s: int) -> str:
    """Return what one process spends its time on."""
    with tempfile.NamedTemporaryFile("r", suffix=".folded") as file:
        before, at_s = ticks(pid), time.monotonic()
        subprocess.run(
            [
                spy(),
                "record",
                "-d",
                str(for_s),
                "-r",
                str(RATE),
                "-f",
                "raw",
                "-o",
                file.name,
                "--nonblocking",
                "--pid",
                str(pid),
            ],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        passed_s = time.monotonic() - at_s
        user_s, kernel_s = (
            (now - then) / os.sysconf("SC_CLK_TCK") for now, then in zip(ticks(pid), before, strict=True)
        )
        used_s = user_s + kernel_s
        kernel = kernel_s / max(used_s, 1e-9)
        stacks = without_waiting(counted(file.read().splitlines()), round(used_s * RATE))
        return f"{role}: {used_s / passed_s:.0%} of a core, of which {kernel:.0%} in the kernel\n\n{table(stacks)}"


def counted(lines: Iterable[str]) -> Stacks:
    """Return what was seen, of lines with frames from outermost to innermost and how often they were seen."""
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        path, _, seen = line.rpartition(" ")
        # Some looks are in vain, for the process goes on meanwhile.
        if path:
            stacks[tuple(named(frame) for frame in path.split(";"))] += int(seen)
    return stacks


def without_waiting(stacks: Stacks, most: int) -> Stacks:
    """Return what was seen without waits for a core: on a busy machine these are most of what is seen of a sleeper.

    Args:
        stacks: What was seen.
        most: How many looks the CPU time of the process makes up.
    """
    waits = {stack: seen for stack, seen in stacks.items() if stack[-1] in WAITING}
    waited = sum(waits.values())
    share = max(most - (sum(stacks.values()) - waited), 0) / max(waited, 1)
    return {stack: seen if stack not in waits else seen * min(share, 1.0) for stack, seen in stacks.items()}


def table(stacks: Stacks) -> str:
    """Return the functions that took most, as text."""
    alone: dict[str, float] = defaultdict(float)
    within: dict[str, float] = defaultdict(float)
    for stack, seen in stacks.items():
        alone[stack[-1]] += seen
        for name in set(stack):
            within[name] += seen
    whole = max(sum(alone.values()), 1e-9)
    rows = [
        f"{count / whole:6.1%} {within[name] / whole:6.1%}  {name}"
        for name, count in sorted(alone.items(), key=lambda item: -item[1])[:TOP]
        if count > 0
    ]
    return "\n".join(["  self  within  function", *rows, ""])


def named(frame: str) -> str:
    """Return a frame by its function and file, without its line."""
    return frame.rpartition(":")[0] + ")" if ":" in frame else frame


def ticks(pid: int) -> tuple[int, int]:
    """Return the CPU time of a process by user and kernel, in ticks."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]), int(fields[12])

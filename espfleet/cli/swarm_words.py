"""How a load test is told: a line a second and a table at the end, or lines of JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.simulator.swarm.figures import Report, Spread

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Lines between two headings.
_PAGE = 20
#: Reasons that are shown of those for which connections ended.
_REASONS = 8
#: From this on, this process is what is measured.
_TOO_BUSY = 0.9
_COLUMNS = (
    ("time", 6),
    ("connected", 10),
    ("green", 6),
    ("orange", 7),
    ("red", 6),
    ("unknown", 8),
    ("stale", 6),
    ("no gateway", 11),
    ("refused", 8),
    ("failed", 7),
    ("back", 6),
    ("levels", 7),
    ("changes", 8),
    ("p50/p99 ms", 13),
    ("CPU", 5),
)


def say(text: str) -> None:
    """Print a line, now."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def line(row: Mapping[str, Any]) -> None:
    """Print a line for programs."""
    say(json.dumps(row, ensure_ascii=False))


def warn(text: str) -> None:
    """Print a line beside the answer."""
    sys.stderr.write(f"espfleet: {text}\n")


def show_second(report: Report, row: int) -> None:
    """Print how a second was."""
    if output.for_programs():
        line({"kind": "second", **asdict(report)})
        return
    if row % _PAGE == 0:
        say(" ".join(name.rjust(width) for name, width in _COLUMNS))
    glows = report.glows
    cells = (
        f"{report.at_s:.0f} s",
        report.connected,
        *(glows[word] for word in ("green", "orange", "red", "unknown", "stale", "no gateway")),
        report.refused,
        report.failed,
        report.reconnects,
        report.levels,
        report.changes,
        "–" if report.delay is None else f"{report.delay.p50_ms:.0f}/{report.delay.p99_ms:.0f}",
        f"{report.busy:.0%}",
    )
    say(" ".join(str(cell).rjust(width) for cell, (_, width) in zip(cells, _COLUMNS, strict=True)))


def show_end(
    report: Report,
    endings: Counter[str],
    *,
    lamps: int,
    full_s: float | None,
    processes: int,
    memory_kib: int,
) -> None:
    """Print how a test was.

    Args:
        report: All of it.
        endings: Why connections and attempts ended, and how often.
        lamps: How many there are.
        full_s: When all of them were connected, or ``None``.
        processes: How many processes ran them.
        memory_kib: Memory that these had together at most.
    """
    row = {
        "kind": "end",
        **asdict(report),
        "lamps": lamps,
        "all_connected_s": None if full_s is None else round(full_s, 1),
        "endings": dict(endings.most_common()),
        "processes": processes,
        "memory_bytes": memory_kib * 1_024,
    }
    if output.for_programs():
        line(row)
    else:
        ran = "this process" if processes == 1 else f"{processes} processes"
        busy = f"{report.busy:.0%} of a core{' the busiest' if processes > 1 else ''}"
        cost = (ran, f"{busy}, {memory_kib / 1_024:.0f} MiB at most")
        output.show(row, lambda: _table(report, endings, lamps, full_s, cost))


def _table(
    report: Report, endings: Counter[str], lamps: int, full_s: float | None, cost: tuple[str, str]
) -> RenderableType:
    from rich.console import Group as Stack

    seconds = max(report.at_s, 0.001)
    rows = [
        ("lamps", f"{lamps}, {report.connected} connected at the end"),
        ("all connected", "never at one moment" if full_s is None else f"after {full_s:.0f} s"),
        ("attempt to welcome", _told(report.welcome, "nobody was welcomed")),
        ("change to lamp", _told(report.delay, _NOT_MEASURED)),
        ("levels heard", f"{report.levels}, {report.levels / seconds:.0f} a second; {report.changes} changes"),
        ("keepalives sent", f"{report.keepalives}, {report.keepalives / seconds:.0f} a second"),
        ("told when to return", str(report.refused)),
        ("failed otherwise", str(report.failed)),
        ("came back", str(report.reconnects)),
        cost,
    ]
    parts: list[RenderableType] = [output.table(("what", "in all"), rows, "", folded=("in all",))]
    if endings:
        reasons = [(why, str(count)) for why, count in endings.most_common(_REASONS)]
        parts.append(output.table(("why connections ended", "times"), reasons, "", folded=("why connections ended",)))
    if report.busy > _TOO_BUSY:
        parts.append(f"{_TOO_MUCH}: times say more about the simulator than about the gateway. Try --processes.")
    return Stack(*parts)


_TOO_MUCH = "A process of lamps had more to do than it could"
_NOT_MEASURED = "no change was seen whose time can be compared: that needs the gateway on this machine"


def _told(spread: Spread | None, none: str) -> str:
    if spread is None:
        return none
    return f"p50 {spread.p50_ms:.0f} ms, p99 {spread.p99_ms:.0f} ms, at worst {spread.worst_ms:.0f} ms"

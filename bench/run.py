"""Run benches, store what they measured under ``bench/results/`` and put it into ``docs/performance.md``.

``python -m bench.run`` runs all of them, ``python -m bench.run levels streams`` only those. A bench is a module of
this folder with a ``main()``; it may say ``CAP_S = 300``, the most seconds it may take (else ``USUAL_CAP_S``), and
``SEED = 1`` or ``SEEDS = (1, 2)``, from which all is made that is random in it.
The exit code is 0 if every bench came to its end and no promise is broken.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import capacity_page
from bench.charts import compare, draw
from bench.report import figure

ROOT = Path(__file__).resolve().parent.parent
USUAL_CAP_S = 180.0
BEGIN = "<!-- measured: begin, written by make bench -->"
END = "<!-- measured: end -->"
PICTURES = {
    "performance.svg": ("How much of what its bound allows each promise uses", draw),
    "peers.svg": ("How many times better than its peer each promise is kept", compare),
}
VERDICTS = {True: "holds", False: "**broken**", None: "not measured"}


def main(names: Sequence[str], root: Path = ROOT) -> int:
    """Run the benches of these names, or all; return the exit code."""
    caps = discover(root / "bench")
    unknown = [name for name in names if name not in caps]
    if unknown:
        print(f"there is no bench {', '.join(unknown)}; there are: {', '.join(caps)}", file=sys.stderr)
        return 2
    troubles = []
    for name in names or caps:
        print(f"--- {name}", flush=True)
        result, trouble = measure(name, caps[name], root)
        if trouble:
            troubles.append(trouble)
        else:
            store(result, root)
        troubles += [f"{name}: {one['promise']} is broken" for one in result["promises"] if one["holds"] is False]
    publish(root)
    print("\n" + "\n".join(troubles or ["every promise that could be measured holds"]), flush=True)
    return 1 if troubles else 0


def discover(folder: Path) -> dict[str, float]:
    """Return the benches of a folder by name, each with the most seconds it may take."""
    found = {}
    for path in sorted(folder.glob("*.py")):
        body = ast.parse(path.read_text()).body
        if path.stem != "run" and any(isinstance(part, ast.FunctionDef) and part.name == "main" for part in body):
            found[path.stem] = float(_said(body, "CAP_S") or USUAL_CAP_S)
    return found


def seed_of(name: str, folder: Path) -> Any:
    """Return the seed of a bench, or several; ``None`` where nothing is random."""
    body = ast.parse((folder / f"{name}.py").read_text()).body
    return _said(body, "SEED") or _said(body, "SEEDS")


def _said(body: Iterable[ast.stmt], name: str) -> Any:
    """Return the value of ``NAME = value``, or ``None`` if no statement says it."""
    for part in body:
        if isinstance(part, ast.Assign) and isinstance(part.targets[0], ast.Name) and part.targets[0].id == name:
            return ast.literal_eval(part.value)
    return None


def measure(name: str, cap_s: float, root: Path = ROOT) -> tuple[dict[str, Any], str]:
    """Run one bench, showing its output, and return its result and what went wrong (``""`` for nothing)."""
    seed = seed_of(name, root / "bench")
    result: dict[str, Any] = {"bench": name, "machine": machine(), "seed": seed, "promises": []}
    began = time.monotonic()
    late = threading.Event()
    with subprocess.Popen(
        [sys.executable, "-m", f"bench.{name}"],
        cwd=root,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        # A group of its own, so that what it started ends with it.
        start_new_session=True,
    ) as process:
        timer = threading.Timer(cap_s, lambda: (late.set(), _end(process)))
        timer.start()
        try:
            for line in process.stdout or ():
                print(line, end="", flush=True)
                result["promises"] += _promises(line)
            code = process.wait()
        finally:
            timer.cancel()
            _end(process)
    result["seconds"] = round(time.monotonic() - began, 1)
    if late.is_set():
        return result, f"{name}: ended after {cap_s:g} s, the most it may take"
    if code != 0:
        return result, f"{name}: failed with code {code}"
    return result, "" if result["promises"] else f"{name}: measured nothing"


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _promises(line: str) -> list[dict[str, Any]]:
    """Return the promise of a JSON line in a list, or an empty one for any other line."""
    try:
        found = json.loads(line) if line.startswith("{") else None
    except ValueError:
        return []
    return [found] if isinstance(found, dict) and "promise" in found and "holds" in found else []


def machine() -> dict[str, Any]:
    """Return what a reader has to know of this machine to judge a figure."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.lower().startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def store(result: Mapping[str, Any], root: Path = ROOT) -> Path:
    """Keep a result under the name of its bench; return where."""
    path = root / "bench" / "results" / f"{result['bench']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")
    return path


def publish(root: Path = ROOT) -> None:
    """Write the table of stored results into ``docs/performance.md``, and those of one bench into their own page."""
    capacity_page.write(root)
    page = root / "docs" / "performance.md"
    text = page.read_text() if page.exists() else ""
    if BEGIN not in text or END not in text:
        print(f"{page} has no place for the table: the marks {BEGIN} and {END} are missing", file=sys.stderr)
        return
    results = [
        json.loads(path.read_text())
        for path in sorted((root / "bench" / "results").glob("*.json"))
        if path.stem != capacity_page.BENCH
    ]
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    pictures = root / "docs" / "pictures"
    pictures.mkdir(exist_ok=True)
    for name, (_, made) in PICTURES.items():
        (pictures / name).write_text(made(results))
    shown = "\n\n".join(f"![{words}](pictures/{name})" for name, (words, _) in PICTURES.items())
    page.write_text(f"{before}{BEGIN}\n\n{shown}\n\n{table(results)}\n{END}{after}")


def table(results: Iterable[Mapping[str, Any]]) -> str:
    """Return results as a Markdown table, then one line for each bench on where it ran."""
    rows = [
        "| promise | ours | peer | ratio | bound | | runs, and where they lie |",
        "|---|---:|---:|---:|---|---|---|",
    ]
    notes = []
    for result in results:
        for one in result["promises"]:
            peer = f"{_with_unit(one['peer'], one['unit'])} ({one['peer_name']})" if one["peer_name"] else "–"
            cells = [
                one["promise"],
                _with_unit(one["ours"], one["unit"]),
                peer,
                figure(one["ratio"]),
                one["bound"],
                VERDICTS[one["holds"]] + (f": {one['note']}" if one.get("note") else ""),
                _runs(one),
            ]
            rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        where = result["machine"]
        notes.append(
            f"- `make bench BENCH={result['bench']}`: {where['date']}, {where['cpu']}, {where['cores']} cores, "
            f"{where['kernel']}, Python {where['python']}, load {where['load']} at the start; {result['seconds']:g} s"
            f"{_seeds(result['seed']) if 'seed' in result else ''}"
        )
    return "\n".join([*rows, "", *notes, ""])


def _runs(one: Mapping[str, Any]) -> str:
    """Return how many runs a promise was measured in, and how far they lie apart: the middle half of them, or all."""
    spread = one["spread"]
    if spread is None:
        return "–"
    ends = [f"{figure(low)} to {figure(high)}" for low, high in filter(None, (spread["ours"], spread["peer"]))]
    half = ", half of them" if spread["kind"] == "quartiles" else ""
    return f"{one['runs']}{half}: {', the peer '.join(ends)}"


def _seeds(seed: Any) -> str:
    """Return what all that is random was made from, in words."""
    if seed is None:
        return "; its load is not random"
    return f"; seed{'s' if isinstance(seed, list | tuple) else ''} {str(seed).strip('[]()')}"


def _with_unit(value: float | None, unit: str) -> str:
    return f"{figure(value)} {unit}".strip() if value is not None else "–"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

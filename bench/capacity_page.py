"""The figures of ``docs/capacity.md``: the table of what one of everything costs, and three plans that follow from it.

``make bench`` writes them anew; so does ``python -m bench.capacity_page``. With ``--costs`` it first takes over what
was measured, rounded to two digits, into ``espfleet/domain/unit_costs.py``: to be done on a quiet machine only.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

from bench.report import figure
from espfleet.domain.capacity import Plan, plan
from espfleet.domain.loads import Load
from espfleet.domain.unit_costs import COSTS, UnitCost
from espfleet.errors import InvalidError

ROOT = Path(__file__).resolve().parent.parent
#: The bench whose results have this page to themselves.
BENCH = "capacity"
BEGIN = "<!-- reckoned: begin, written by make bench -->"
END = "<!-- reckoned: end -->"
LOADS = (
    Load(lamps=10_000, targets=1_000, viewers=50),
    Load(lamps=100_000, targets=5_000, viewers=50),
    Load(lamps=1_000_000, targets=50_000, viewers=200),
)


#: What the bench of a whole fleet carries: hardly a level that changes.
WHOLE = Load(lamps=10_000, targets=1_000, viewers=0, groups=20, changes_per_s=0.1)
#: Stands in the note of a run of it whose lamps told numbers.
NUMBERS = "numbers in them"
WHOLE_PROMISE = "10,000 lamps, 1,000 targets: CPU of the whole fleet with Redis"


def write(root: Path = ROOT) -> None:
    """Write what is stored into the page, if there is any and a page."""
    page, found = root / "docs" / "capacity.md", stored(root)
    if page.exists() and found:
        text = page.read_text()
        before, after = text.partition(BEGIN)[0], text.partition(END)[2]
        page.write_text(f"{before}{BEGIN}\n\n{figures(found, stored(root, 'whole_fleet'))}\n{END}{after}")


def stored(root: Path = ROOT, bench: str = BENCH) -> dict[str, Any]:
    """Return the stored result of a bench, or nothing."""
    path = root / "bench" / "results" / f"{bench}.json"
    return dict(json.loads(path.read_text())) if path.exists() else {}


def figures(result: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    """Return everything between the marks, of the results of this bench and of that of a whole fleet."""
    return "\n".join(
        [*costs(result), "", *plans([plan(load) for load in LOADS]), "", *compared(whole), *by_the_last(result)]
    )


def compared(whole: Mapping[str, Any]) -> list[str]:
    """Return what a whole fleet took beside what is reckoned for it, if that was measured."""
    found = next((one for one in whole.get("promises", ()) if one["promise"] == WHOLE_PROMISE), None)
    if found is None or found["ours"] is None:
        return []
    has_numbers = NUMBERS in found["note"]
    load = WHOLE if has_numbers else replace(WHOLE, reports_per_s=0)
    said = "which told numbers as the firmware does" if has_numbers else "with bare keepalives"
    reckoned = plan(load)
    measured = dict(re.findall(r"(\w+) ([\d.]+)%[,;]", found["note"]))
    parts = [
        f"{need.role} {float(measured[need.role]):.0f} % ({100 * need.cores:.0f})"
        for need in reckoned.needs
        if need.role in measured
    ]
    return [
        f"A whole fleet of 10,000 lamps {said} and 1,000 targets took {found['ours']:.0f} % of a core "
        f"(`make bench BENCH=whole_fleet`); {100 * reckoned.total.cores:.0f} % is reckoned for it."
        + (f" Of that, measured (and reckoned): {', '.join(parts)}." if parts else ""),
        "",
    ]


def by_the_last(result: Mapping[str, Any]) -> list[str]:
    """Return what the plans would come to with the figures that were measured last, as a sentence."""
    measured = {one["promise"]: one["ours"] for one in result["promises"]}
    last = {
        key: replace(cost, value=measured[cost.what])
        for key, cost in COSTS.items()
        if measured.get(cost.what) is not None
    }
    before = [plan(load) for load in LOADS]
    with patch.dict(cast("dict[str, UnitCost]", COSTS), last):
        try:
            after = [plan(load) for load in LOADS]
        except InvalidError as exc:
            return [f"With the column *measured* instead of what plans take, {exc}.", ""]
    told = [
        f"{two.fleets * two.total.cores:.1f} instead of {one.fleets * one.total.cores:.1f}"
        for one, two in zip(before, after, strict=True)
    ]
    return [
        f"With the column *measured* instead of what plans take, the three plans come to {', '.join(told[:-1])} and "
        f"{told[-1]} cores.",
        "",
    ]


def costs(result: Mapping[str, Any]) -> list[str]:
    """Return what one of everything costs, as a table, and where that was measured."""
    measured = {one["promise"]: one for one in result["promises"]}
    rows = ["| | what one costs | plans take | measured | off the line |", "|---|---|---:|---:|---:|"]
    for key, cost in COSTS.items():
        # A cost that was added since is measured next time.
        found = measured.get(cost.what, {"ours": None, "note": ""})
        off = re.search(r"([\d.]+%) of the largest", found["note"])
        cells = [f"`{key}`", cost.what, f"{figure(cost.value)} {cost.unit}", figure(found["ours"])]
        rows.append(f"| {' | '.join(cells)} | {off[1] if off else '–'} |")
    where = result["machine"]
    told = (
        f"Measured by `make bench BENCH={BENCH}`: {where['date']}, {where['cpu']}, {where['cores']} cores, "
        f"{where['kernel']}, Python {where['python']}, load {where['load']} at the start."
    )
    return [told, "", *rows]


def plans(found: Sequence[Plan]) -> list[str]:
    """Return plans side by side, as a table."""
    # Only a Cluster has replicas.
    roles = list(dict.fromkeys(need.role for one in found for need in one.needs))
    rows = {
        "fleets": [f"{one.fleets:,}" for one in found],
        "in each: lamps, targets, viewers": [
            f"{one.load.lamps:,}, {one.load.targets:,}, {one.load.viewers:,}" for one in found
        ],
        **{role: [_need(one, role) for one in found] for role in roles},
        "together, one fleet": [f"{one.total.cores:.1f} cores, {one.total.mib / 1_024:,.1f} GiB" for one in found],
        "together, all fleets": [
            f"{one.fleets * one.total.cores:.1f} cores, {one.fleets * one.total.mib / 1_024:,.0f} GiB" for one in found
        ],
        "Mbit/s of a fleet with lamps, viewers, Redis": [
            f"{one.lamp_mbit_s:,.0f}, {one.viewer_mbit_s:,.0f}, {one.redis_mbit_s:,.0f}" for one in found
        ],
        "open files of a gateway": [f"{one.files:,}" for one in found],
        "all lamps back after a power cut": [f"{one.back_s:.0f} s" for one in found],
        "a change of the registry stops each process": [f"{one.stall_ms:.0f} ms" for one in found],
    }
    heads = [f"{load.lamps:,} lamps, {load.targets:,} targets" for load in LOADS]
    return [
        f"| | {' | '.join(heads)} |",
        f"|---|{'---:|' * len(heads)}",
        *(f"| {name} | {' | '.join(cells)} |" for name, cells in rows.items()),
    ]


def _need(one: Plan, role: str) -> str:
    need = next((need for need in one.needs if need.role == role), None)
    if need is None:
        return "–"
    memory = f"{need.mib / 1_024:,.1f} GiB" if need.mib >= 1_024 else f"{need.mib:,.0f} MiB"
    return f"{need.count} × {need.cores / need.count:.2f} cores, {memory}"


def take_over(root: Path = ROOT) -> None:
    """Let plans take what was measured."""
    measured = {one["promise"]: one["ours"] for one in stored(root)["promises"]}
    module = root / "espfleet" / "domain" / "unit_costs.py"
    text = module.read_text()
    for key, cost in COSTS.items():
        if measured[cost.what] is None:
            continue
        value = float(f"{measured[cost.what]:.2g}")
        shown = f"{round(value):_}" if value >= 10 else f"{value:g}"
        text = re.sub(rf'(UnitCost\("{key}", .+, )[\d._]+\)', rf"\g<1>{shown})", text)
    module.write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["--costs"]:
        take_over()
        # What is reckoned with was read before.
        sys.exit("taken over; now: python -m bench.capacity_page")
    write()

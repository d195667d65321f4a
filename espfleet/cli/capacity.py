"""``capacity``: what a fleet of some size needs."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.domain.capacity import Plan, plan
from espfleet.domain.loads import LIMITS, Load
from espfleet.domain.names import check_number, check_whole

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Given as whole numbers; and what is given as any number, with the field of ``Load`` that it becomes.
WHOLE = ("lamps", "targets", "viewers", "groups", "shards")
NUMBERS = {"changes": "changes_per_s", "interval": "interval_s", "busy": "busy_percent"}


def capacity(tls: bool, **given: str) -> None:
    """Show what a fleet needs; what is given as ``""`` is left as it usually is."""
    values: dict[str, Any] = {}
    for name in filter(given.get, given):
        if name in WHOLE:
            least, most = LIMITS[name]
            values[name] = check_whole(given[name], name, int(least), int(most))
        else:
            values[NUMBERS[name]] = check_number(given[name], name, *LIMITS[NUMBERS[name]])
    load = Load(tls=tls, **values)
    found = plan(load)

    def page() -> RenderableType:
        from rich.console import Group

        rows = [
            (need.role, str(need.count), f"{need.cores:.2f}", memory(need.mib), need.by)
            for need in (*found.needs, found.total)
        ]
        columns = ("what", "processes", "cores", "memory", "because")
        table = output.table(columns, rows, "", folded=("because",))
        head = f"{found.fleets} fleets, each with:" if found.fleets > 1 else ""
        return Group(*([head] if head else []), table, *(output.plain(line) for line in sentences(found)))

    output.show(row(found), page)


def row(found: Plan) -> dict[str, Any]:
    """Return a plan for programs."""
    told = {one.name: getattr(found, one.name) for one in fields(found) if one.name not in ("load", "needs")}
    return {**told, "needs": [asdict(need) for need in found.needs], "assumed": asdict(found.load)}


def sentences(found: Plan) -> list[str]:
    """Return what a table cannot say, for people."""
    load = found.load
    return [
        f"Network: {found.lamp_mbit_s:,.0f} Mbit/s with lamps, {found.viewer_mbit_s:,.0f} with those who look, "
        f"{found.redis_mbit_s:,.0f} with Redis.",
        f"A gateway has up to {found.files:,} open files. After a power cut all lamps are back in {found.back_s:.0f} s "
        f"at the earliest. Each change of the registry stops each process for {found.stall_ms:.0f} ms.",
        f"Assumed of each lamp, a second: keepalives {load.keepalives_per_s:g}, of them with numbers "
        f"{load.reports_per_s:g}, levels {load.levels_per_s:g}. A probe each {load.interval_s:g} s; "
        f"{load.changes:,.0f} changes of levels a second; {load.shards} shards; no process busier than "
        f"{load.busy_percent:g} % of a core. All of it is reckoned from what one costs: docs/capacity.md.",
        *(f"Mind: {warning}." for warning in found.warnings),
    ]


def memory(mib: float) -> str:
    """Return an amount of memory for people."""
    return f"{mib / 1_024:,.1f} GiB" if mib >= 1_024 else f"{mib:,.0f} MiB"

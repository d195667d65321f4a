"""What one more lamp, target, viewer, reading and device costs: the inputs of ``docs/capacity.md``.

Each is the slope of a straight line through what was measured at several sizes; how far the points lie off the line
is told with it. Everything runs as it is, each on its own Redis; ``bench/costs/`` says how.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from bench import namespace
from bench.costs import gateways, registries, targets, viewers
from bench.gateway import allow_files
from bench.peers import servers
from bench.report import not_measured, report
from bench.slopes import Line, Point, line
from bench.tls_memory import one_run
from espfleet.domain.unit_costs import COSTS, UnitCost

CAP_S = 900.0

TLS_SIZES = (200, 600)

#: A figure and the line that it comes from.
Figures = dict[str, tuple[float, Line]]


def main() -> None:
    """Measure and report."""
    allow_files()
    lack = servers.missing("gcc") or ("" if namespace.possible() else "needs root, for a network namespace")
    if lack:
        for cost in COSTS.values():
            not_measured(cost.what, bound=bound_of(cost), unit=cost.unit, reason=lack)
        return
    figures = {
        **of_lamps(),
        **of_targets(),
        **of_viewers(asyncio.run(viewers.measure())),
        **of_devices(asyncio.run(registries.measure()), asyncio.run(registries.kept())),
    }
    assert figures.keys() == COSTS.keys(), figures.keys() ^ COSTS.keys()
    for key, cost in COSTS.items():
        value, through = figures[key]
        report(cost.what, [value], unit=cost.unit, bound=bound_of(cost), note=through.in_words())


def bound_of(cost: UnitCost) -> str:
    """Return what a cost may be before plans are wrong."""
    return f"ours <= {cost.value * cost.factor:g}"


def of_lamps() -> Figures:
    """Return what lamps cost, and what is told about them."""
    with namespace.private_network():
        found = gateways.measure()
    coming = {cost: line(found.crowds, cost) for cost in found.crowds[0][1]}
    busy = line(found.busy, "gateway")
    told = line(found.busy, "redis", "lamps")
    wire = line(found.busy, "wire_bytes", "keepalives", "levels")
    heard, heard_redis = line(found.heard, "gateway"), line(found.heard, "redis")
    others = line(found.others, "gateway")
    reports = {cost: line(found.reports, cost) for cost in ("gateway", "redis", "redis_bytes", "wire_bytes")}
    tls = line(tls_points(), "kib")
    return {
        "gateway_base": (busy.base, busy),
        **slopes(busy, gateway_lamp="lamps", gateway_keepalive="keepalives", gateway_level="levels"),
        **slopes(reports["gateway"], gateway_report="reports"),
        **slopes(coming["gateway"], gateway_come="lamps"),
        **slopes(heard, gateway_heard_message="messages", gateway_heard_level="levels"),
        **slopes(others, gateway_heard_report="reports", gateway_heard_arrival="arrivals"),
        **slopes(coming["come_kib"], gateway_lamp_kib="lamps"),
        **slopes(tls, gateway_tls_lamp_kib="lamps"),
        "redis_base": (heard_redis.base, heard_redis),
        **slopes(told, redis_lamp="lamps"),
        **slopes(reports["redis"], redis_report="reports"),
        **slopes(coming["redis"], redis_come="lamps"),
        **slopes(heard_redis, redis_message="messages", redis_level="levels"),
        **slopes(line(found.listeners, "redis"), redis_listener="messages"),
        **slopes(coming["row_bytes"], redis_device_bytes="lamps"),
        **slopes(coming["session_bytes"], redis_session_bytes="lamps"),
        **slopes(line(found.busy, "redis_bytes", "lamps"), redis_lamp_traffic="lamps"),
        **slopes(reports["redis_bytes"], redis_report_traffic="reports"),
        **slopes(wire, wire_keepalive_bytes="keepalives", wire_level_bytes="levels"),
        **slopes(reports["wire_bytes"], wire_report_bytes="reports"),
    }


def tls_points() -> list[Point]:
    """Return the memory of crowds of lamps under TLS."""
    return [({"lamps": count}, {"kib": count * asyncio.run(one_run(count))}) for count in TLS_SIZES]


def of_targets() -> Figures:
    """Return what targets cost."""
    with namespace.private_network():
        found = targets.measure()
    prober, leveler, steward, redis = (
        line(found, name, "samples") for name in ("prober", "leveler", "steward", "redis")
    )
    return {
        "redis_probing": (redis.base, redis),
        **slopes(redis, redis_sample="samples"),
        **slopes(line(found, "row_bytes", "targets"), redis_target_bytes="targets"),
        **slopes(line(found, "sample_bytes", "targets"), redis_sample_bytes="targets"),
        **slopes(line(found, "redis_bytes", "samples"), redis_sample_traffic="samples"),
        "prober_base": (prober.base, prober),
        **slopes(prober, prober_probe="samples"),
        **slopes(line(found, "prober_kib", "targets"), prober_target_kib="targets"),
        "leveler_base": (leveler.base, leveler),
        **slopes(leveler, leveler_sample="samples"),
        **slopes(line(found, "leveler_kib", "targets"), leveler_target_kib="targets"),
        "steward_base": (steward.base, steward),
        **slopes(line(found, "steward_kib", "targets"), steward_target_kib="targets"),
    }


def of_viewers(found: list[Point]) -> Figures:
    """Return what those cost who look."""
    web = line(found, "web", "levels", "reports", "messages")
    told = line(found, "bytes", "level_rows", "report_rows", "messages")
    return {
        "web_base": (web.base, web),
        **slopes(web, web_level="levels", web_report="reports", web_message="messages"),
        **slopes(line(found, "web_kib", "viewers"), web_viewer_kib="viewers"),
        **slopes(told, web_level_bytes="level_rows", web_report_bytes="report_rows"),
    }


def of_devices(found: list[Point], kept: list[Point]) -> Figures:
    """Return what registered devices cost, and the numbers they told."""
    lines: Mapping[str, Line] = {cost: line(found, cost) for cost in found[0][1]}
    return {
        **slopes(lines["first"], device_first="devices"),
        **slopes(lines["again"], device_again="devices"),
        **slopes(lines["stall"], device_stall="devices"),
        **slopes(lines["kib"], device_kib="devices"),
        **slopes(lines["redis"], redis_device_read="devices"),
        **slopes(line(kept, "bytes"), redis_minute_bytes="minutes"),
    }


def slopes(through: Line, **keys: str) -> Figures:
    """Return slopes of a line under their keys."""
    return {key: (through.slopes[name], through) for key, name in keys.items()}


if __name__ == "__main__":
    main()

"""How a bench says what it measured: a table for people, then one JSON line for programs.

A bench is a module ``bench/NAME.py`` with a ``main()``, run from the project root as ``python -m bench.NAME``:

    def main() -> None:
        ours, peer = [], []
        for _ in range(5):                      # take turns, so that a busy machine harms both alike
            ours.append(probes_per_second())
            peer.append(fping_per_second())
        report(
            "probes per second and core", ours, peer,
            peer_name="fping -i 0", unit="1/s", bound="ratio >= 1.5",
        )

A bound compares ``ours`` (the median of our runs) or ``ratio`` (our median / the peer's) with a number. What
cannot be measured on this machine is said with ``not_measured``; it is neither kept nor broken.
"""

from __future__ import annotations

import json
import math
import operator
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "==": operator.eq,
}
BOUND = re.compile(r"(ours|ratio) (>=|<=|>|<|==) (\S+)")

# Fewer runs than this have no quartiles worth the name; their spread is the whole range.
QUARTILES_FROM = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How far the runs lie apart.

    Attributes:
        kind: ``"quartiles"`` (the middle half of the runs) or ``"min-max"`` (all of them, when there are under four).
        ours: Lower and upper end of our runs.
        peer: The same of the peer's runs, or ``None`` without a peer.
    """

    kind: str
    ours: tuple[float, float]
    peer: tuple[float, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One promise and what came of it.

    Attributes:
        promise: What is promised, in words; the same in every run, for it is the key when results are compared.
        ours: Median of our runs, or ``None`` if it could not be measured here.
        peer: Median of the peer's runs, or ``None`` without a peer.
        peer_name: The peer and how it was called, such as ``"fping -i 0"``.
        ratio: ``ours / peer``, or ``None`` without a peer.
        unit: Unit of ``ours`` and ``peer``.
        bound: What was promised, such as ``"ratio >= 1.5"``.
        holds: Whether the bound holds, or ``None`` if it could not be measured here.
        runs: How many runs ours is the median of.
        spread: How far the runs lie apart.
        note: Anything the reader of the figure has to know, such as why it could not be measured.
    """

    promise: str
    ours: float | None
    peer: float | None
    peer_name: str
    ratio: float | None
    unit: str
    bound: str
    holds: bool | None
    runs: int
    spread: Spread | None
    note: str


def report(
    promise: str,
    ours: Sequence[float],
    peer: Sequence[float] | None = None,
    *,
    bound: str,
    unit: str = "",
    peer_name: str = "",
    note: str = "",
) -> Promise:
    """Judge the runs of one promise, print the table and the JSON line, and return the result.

    Args:
        promise: What is promised, in words.
        ours: One figure a run, at least one.
        peer: The peer's figures, taken in the same run of the bench.
        bound: ``ours`` or ``ratio``, one of ``>= <= > < ==``, and a number: ``"ratio >= 1.5"``.
        unit: Unit of the figures; ``""`` for a plain number.
        peer_name: The peer and how it was called.
        note: Printed and stored as it is.

    Raises:
        ValueError: If there is no figure, a figure is not finite, or the bound cannot be read.
    """
    result = judge(promise, ours, peer, bound=bound, unit=unit, peer_name=peer_name, note=note)
    _print(result)
    return result


def not_measured(promise: str, *, bound: str, reason: str, unit: str = "", peer_name: str = "") -> Promise:
    """Say that a promise cannot be measured on this machine, and why."""
    _parse(bound)
    result = Promise(
        promise=promise,
        ours=None,
        peer=None,
        peer_name=peer_name,
        ratio=None,
        unit=unit,
        bound=bound,
        holds=None,
        runs=0,
        spread=None,
        note=reason,
    )
    _print(result)
    return result


def judge(
    promise: str,
    ours: Sequence[float],
    peer: Sequence[float] | None = None,
    *,
    bound: str,
    unit: str = "",
    peer_name: str = "",
    note: str = "",
) -> Promise:
    """Do what ``report`` does, without printing."""
    subject, holds, limit = _parse(bound)
    for name, figures in (("ours", ours), ("peer", peer)):
        if figures is not None and (len(figures) == 0 or not all(map(math.isfinite, figures))):
            raise ValueError(f"{promise}: {name} needs one finite figure a run, not {list(figures)}")
    mine = statistics.median(map(float, ours))
    theirs = None if peer is None else statistics.median(map(float, peer))
    ratio = mine / theirs if theirs else None
    if subject == "ratio" and ratio is None:
        raise ValueError(f"{promise}: a ratio needs a peer whose median is not 0")
    quartiles = min(len(ours), len(ours if peer is None else peer)) >= QUARTILES_FROM
    return Promise(
        promise=promise,
        ours=mine,
        peer=theirs,
        peer_name=peer_name,
        ratio=ratio,
        unit=unit,
        bound=bound,
        holds=holds(ratio if subject == "ratio" and ratio is not None else mine, limit),
        runs=len(ours),
        spread=Spread(
            kind="quartiles" if quartiles else "min-max",
            ours=_ends(ours, quartiles),
            peer=None if peer is None else _ends(peer, quartiles),
        ),
        note=note,
    )


def _parse(bound: str) -> tuple[str, Callable[[float, float], bool], float]:
    found = BOUND.fullmatch(bound)
    try:
        if found is not None:
            return found[1], COMPARE[found[2]], float(found[3])
    except ValueError:
        pass
    raise ValueError(f"a bound reads 'ratio >= 1.5' or 'ours <= 0.6', not {bound!r}")


def _ends(figures: Sequence[float], quartiles: bool) -> tuple[float, float]:
    if not quartiles:
        return float(min(figures)), float(max(figures))
    low, _, high = statistics.quantiles(map(float, figures), n=4, method="inclusive")
    return low, high


def figure(value: float | None) -> str:
    """Return a figure as people read it: four digits that matter, thousands apart, ``–`` for none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    places = max(0, 3 - math.floor(math.log10(abs(value))))
    text = f"{value:,.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def verdict(result: Promise) -> str:
    """Return ``holds``, ``BROKEN`` or ``not measured``."""
    return {True: "holds", False: "BROKEN", None: "not measured"}[result.holds]


def _print(result: Promise) -> None:
    title = f"{result.promise} [{result.unit}]" if result.unit else result.promise
    lines = [title]
    if result.ours is not None and result.spread is not None:
        rows = [("ours", result.ours, result.spread.ours)]
        if result.peer is not None and result.spread.peer is not None:
            rows.append((result.peer_name or "peer", result.peer, result.spread.peer))
        wide = max(len(name) for name, _, _ in rows)
        for name, middle, (low, high) in rows:
            lines.append(
                f"  {name:<{wide}}  {figure(middle):>12}   {result.spread.kind} {figure(low)} … {figure(high)}"
            )
        if result.ratio is not None:
            lines.append(f"  {'ratio':<{wide}}  {figure(result.ratio):>12}")
    runs = f", {result.runs} run{'' if result.runs == 1 else 's'}" if result.runs else ""
    lines.append(f"  {verdict(result)}: {result.bound}{runs}")
    if result.note:
        lines.append(f"  {result.note}")
    print("\n".join(lines), flush=True)
    print(json.dumps(as_json(result), ensure_ascii=False), flush=True)


def as_json(result: Promise) -> dict[str, Any]:
    """Return the promise as the JSON line shows it; ``note`` only where there is one."""
    fields = asdict(result)
    if not result.note:
        del fields["note"]
    return fields

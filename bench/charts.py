"""Pictures of all stored results: how much of what its bound allows each promise uses, and how it is beside a peer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from bench.report import BOUND, figure

WIDTH, LABEL, ROW, HEAD, TOP = 940, 540, 18, 30, 34
#: The scale ends here; what uses more is cut and says so.
MOST = 1.25
#: The scale of comparisons: from half as good as the peer to a thousand times as good, each tenfold as wide.
WORST, BEST = 0.5, 1_000.0
BARS = WIDTH - LABEL - 90
#: Beside a bar of a comparison stands the peer's name.
BESIDE, NAME = 210, 24
LONGEST = 84
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #24292f }
  .head { font-weight: 600; font-size: 13px }
  .holds { fill: #2f81b7 } .broken { fill: #c9372c } .line { stroke: #6e7781 } .grid { stroke: #d0d7de }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .holds { fill: #58a6d8 } .broken { fill: #f47067 } .grid { stroke: #30363d }
  }
"""


def draw(results: Iterable[Mapping[str, Any]]) -> str:
    """Return an SVG with a bar for each promise that was measured, group by group."""
    heads = [
        f'<text x="{LABEL}" y="14">0</text>',
        f'<text x="{at(1)}" y="14" text-anchor="middle">what is allowed</text>',
    ]
    return _picture("How much of what its bound allows each promise uses", heads, at(1), results, used, row)


def compare(results: Iterable[Mapping[str, Any]]) -> str:
    """Return an SVG with a bar for each promise that was measured beside a peer: to the right where ours is better."""
    heads = [
        f'<text x="{beside(number)}" y="14" text-anchor="middle">{number:g} ×</text>' for number in (1, 10, 100, 1_000)
    ]
    return _picture("How many times better than the peer", heads, beside(1), results, better, peer_row)


def _picture(
    words: str,
    heads: Sequence[str],
    line_x: float,
    results: Iterable[Mapping[str, Any]],
    shown: Callable[[Mapping[str, Any]], float | None],
    drawn: Callable[[Mapping[str, Any], int], list[str]],
) -> str:
    """Return an SVG of the promises that can be shown, group by group."""
    groups = [(result["bench"], [one for one in result["promises"] if shown(one) is not None]) for result in results]
    groups = [(name, promises) for name, promises in groups if promises]
    height = TOP + sum(HEAD + ROW * len(promises) for _, promises in groups) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-label="{words}">',
        f"<style>{STYLE}</style>",
        *heads,
    ]
    y = TOP
    for name, promises in groups:
        parts.append(f'<text class="head" x="0" y="{y + 14}">{escape(name)}</text>')
        y += HEAD - 8
        for one in promises:
            parts += drawn(one, y)
            y += ROW
        y += 8
    parts.append(f'<line class="line" x1="{line_x}" x2="{line_x}" y1="20" y2="{height - 6}" stroke-dasharray="3 3"/>')
    return "\n".join([*parts, "</svg>", ""])


def row(one: Mapping[str, Any], y: int) -> list[str]:
    """Return the bar of one promise, with its name and its share in words."""
    share = used(one)
    assert share is not None
    told = f"{share:.0%}" if share >= 0.005 else "under 1%"
    return _bar(one, y, (LABEL, at(min(share, MOST))), f"{told}{'' if one['holds'] else ' broken'}")


def peer_row(one: Mapping[str, Any], y: int) -> list[str]:
    """Return the bar of one promise beside its peer, with the peer's name."""
    times = better(one)
    assert times is not None
    ends = sorted((beside(1), beside(min(max(times, WORST), BEST))))
    peer = one["peer_name"] if len(one["peer_name"]) <= NAME else one["peer_name"][: NAME - 1] + "…"
    return _bar(one, y, (ends[0], ends[1]), f"{figure(float(f'{times:.2g}'))} × {peer}")


def _bar(one: Mapping[str, Any], y: int, ends: tuple[float, float], told: str) -> list[str]:
    label = one["promise"] if len(one["promise"]) <= LONGEST else one["promise"][: LONGEST - 1] + "…"
    kind = "holds" if one["holds"] else "broken"
    whole = escape(f"{one['promise']}: {one['bound']}")
    begin, end = ends
    # To the left of the middle line the words would stand on it.
    text_x = max(end, beside(1)) + 6 if begin > LABEL else end + 6
    return [
        f'<text x="8" y="{y + 12}"><title>{whole}</title>{escape(label)}</text>',
        f'<rect class="{kind}" x="{begin:.1f}" y="{y + 3}" width="{max(end - begin, 1):.1f}" height="{ROW - 7}" '
        'rx="2"/>',
        f'<text x="{text_x:.1f}" y="{y + 12}">{escape(told)}</text>',
    ]


def at(share: float) -> float:
    """Return where a share of what is allowed lies from left to right."""
    return LABEL + BARS * share / MOST


def beside(times: float) -> float:
    """Return where so many times as good as the peer lies from left to right."""
    return LABEL + BESIDE * math.log(times / WORST) / math.log(BEST / WORST)


def better(one: Mapping[str, Any]) -> float | None:
    """Return how many times better than its peer a promise is kept; ``None`` without a peer that can be compared."""
    ratio, found = one["ratio"], BOUND.fullmatch(one["bound"])
    if not ratio or not found or found[2] == "==":
        return None
    return float(ratio if found[2].startswith(">") else 1 / ratio)


def used(one: Mapping[str, Any]) -> float | None:
    """Return how much of its bound a promise uses, 1 for all; ``None`` where that means nothing or was not measured."""
    found = BOUND.fullmatch(one["bound"])
    value = one["ratio"] if found and found[1] == "ratio" else one["ours"]
    limit = float(found[3]) if found else 0.0
    if not found or value is None or limit <= 0 or found[2] == "==":
        return None
    if found[2].startswith("<"):
        return max(value / limit, 0.0)
    return limit / value if value > 0 else MOST

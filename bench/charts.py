"""A picture of all stored results: how much of what its bound allows each promise uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from xml.sax.saxutils import escape

from bench.report import BOUND

WIDTH, LABEL, ROW, HEAD, TOP = 940, 540, 18, 30, 34
#: The scale ends here; what uses more is cut and says so.
MOST = 1.25
BARS = WIDTH - LABEL - 90
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
    groups = [(result["bench"], [one for one in result["promises"] if used(one) is not None]) for result in results]
    groups = [(name, promises) for name, promises in groups if promises]
    height = TOP + sum(HEAD + ROW * len(promises) for _, promises in groups) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        'role="img" aria-label="How much of what its bound allows each promise uses">',
        f"<style>{STYLE}</style>",
        f'<text x="{LABEL}" y="14">0</text>',
        f'<text x="{at(1)}" y="14" text-anchor="middle">what is allowed</text>',
    ]
    y = TOP
    for name, promises in groups:
        parts.append(f'<text class="head" x="0" y="{y + 14}">{escape(name)}</text>')
        y += HEAD - 8
        for one in promises:
            parts += row(one, y)
            y += ROW
        y += 8
    parts.append(f'<line class="line" x1="{at(1)}" x2="{at(1)}" y1="20" y2="{height - 6}" stroke-dasharray="3 3"/>')
    return "\n".join([*parts, "</svg>", ""])


def row(one: Mapping[str, Any], y: int) -> list[str]:
    """Return the bar of one promise, with its name and its share in words."""
    share = used(one)
    assert share is not None
    label = one["promise"] if len(one["promise"]) <= LONGEST else one["promise"][: LONGEST - 1] + "…"
    kind = "holds" if one["holds"] else "broken"
    end = at(min(share, MOST))
    told = f"{share:.0%}" if share >= 0.005 else "under 1%"
    whole = escape(f"{one['promise']}: {one['bound']}")
    return [
        f'<text x="8" y="{y + 12}"><title>{whole}</title>{escape(label)}</text>',
        f'<rect class="{kind}" x="{LABEL}" y="{y + 3}" width="{max(end - LABEL, 1):.1f}" height="{ROW - 7}" rx="2"/>',
        f'<text x="{end + 6:.1f}" y="{y + 12}">{told}{"" if one["holds"] else " broken"}</text>',
    ]


def at(share: float) -> float:
    """Return where a share of what is allowed lies from left to right."""
    return LABEL + BARS * share / MOST


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

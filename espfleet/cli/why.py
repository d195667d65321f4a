"""``why``: every contribution to a level."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.cli.words import age, band_text, level_text, ms
from espfleet.domain.explain import Contribution, Explanation, TargetExplanation
from espfleet.domain.groups import Combine
from espfleet.domain.states import band_of
from espfleet.services import why as service

if TYPE_CHECKING:
    from rich.console import RenderableType


def why(name: str) -> None:
    """Explain a level."""
    found = with_store(lambda store: service.why(store, name=name, now_ms=store.now_ms()))
    output.show(asdict(found), lambda: _page(found))


def _page(found: service.Why) -> RenderableType:
    from rich.console import Group as Stack
    from rich.text import Text

    published = found.published
    head = Text.assemble(
        found.asked, " shows ", level_text(published), f": {published.reason}" if published.reason else ""
    )
    parts: list[RenderableType] = [head, *(f"  {step}" for step in found.way), f"  {_rule(found.explanation)}"]
    for target in found.explanation.targets:
        parts += ["", _target_line(target)]
        if target.contributions:
            parts.append(_contributions(target))
    return Stack(*parts)


def _rule(explanation: Explanation) -> str:
    group, count = explanation.group, len(explanation.targets)
    if not count:
        return f"group {group.name!r} has no targets"
    rule = {
        Combine.WORST: f"its worst of {count} targets decides",
        Combine.MEDIAN: f"the one in the middle of its {count} targets decides",
        Combine.QUORUM: f"it takes {group.quorum} of its {count} targets",
    }[group.combine]
    own = f" with {len(group.overrides)} thresholds of its own" if group.overrides else ""
    return f"group {group.name!r} judges by preset {group.preset!r}{own}: {rule}"


def _target_line(target: TargetExplanation) -> RenderableType:
    from rich.text import Text

    if target.level is None:
        level = band_text(None, f"unknown: {target.unknown}")
    else:
        level = band_text(band_of(target.level), f"{band_of(target.level).value} {target.level}")
    last = ms(target.last_ms) if target.last == "answered" else target.last
    facts = [f"last {last}" if last else "", f"{target.samples} samples"]
    if target.age_ms is not None:
        facts.append(f"{age(0, target.age_ms)} old")
    if target.decided_by:
        facts.append(f"decided by {target.decided_by}")
    return Text.assemble((target.target, "bold"), "  ", level, "  ", ", ".join(filter(None, [*facts, _timer(target)])))


def _timer(target: TargetExplanation) -> str:
    band = target.band
    if band.rising_to is not None:
        return f"one more such sample makes it {band.rising_to.value}"
    if band.held is not None and band.clears_in_ms is not None:
        return f"{band.held.value} for {band.clears_in_ms / 1_000:.1f} s more"
    return ""


def _contributions(target: TargetExplanation) -> RenderableType:
    return output.table(
        ("  contribution", "value", "orange at", "red at", "makes", "from"),
        [
            (
                f"{'→ ' if part.name == target.decided_by else '  '}{part.name}",
                _amount(part.value, part.unit),
                "–" if part.orange is None else _amount(part.orange, part.unit),
                "–" if part.red is None else _amount(part.red, part.unit),
                f"{part.level:.0f}",
                _inputs(part),
            )
            for part in target.contributions
        ],
        "",
        folded=("from",),
    )


def _amount(value: float | None, unit: str) -> str:
    return "lost" if value is None else f"{value:.3g} {unit}"


def _inputs(part: Contribution) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {'∞' if value is None else f'{value:g}'}" for name, value in part.inputs.items()
    )

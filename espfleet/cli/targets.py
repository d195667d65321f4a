"""Commands about targets."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.opening import settings, with_store
from espfleet.cli.words import marked, ms, starred, summary_text
from espfleet.services import targets as service
from espfleet.services.targets import TargetView

if TYPE_CHECKING:
    from rich.console import RenderableType


def to_json(view: TargetView) -> dict[str, Any]:
    """Return a target as programs see it."""
    target, summary = view.target, view.summary
    return {
        "name": target.name,
        "address": target.address,
        "interval_ms": target.interval_ms,
        "timeout_ms": target.timeout_ms,
        "groups": list(view.groups),
        "labels": list(target.labels),
        "simulated": target.simulated,
        "known": summary is not None,
        "level": summary.level if summary else None,
        "band": summary.band.value if summary and summary.band else None,
        "unknown": summary.unknown if summary else "no leveler knows it",
        "last": summary.last if summary else "",
        "last_ms": summary.last_ms if summary else None,
        "now_ms": summary.now_ms if summary else None,
        "usual_ms": summary.usual_ms if summary else None,
        "jitter_ms": summary.jitter_ms if summary else None,
        "loss_percent": summary.loss_percent if summary else None,
        "age_ms": summary.age_ms if summary else None,
    }


def targets() -> None:
    """List the targets."""
    views = with_store(service.views)
    output.show([to_json(view) for view in views], lambda: target_table(views))


#: A terminal narrower than this is shown the most important columns only.
WIDE_COLUMNS = 116


def target_table(views: list[TargetView]) -> RenderableType:
    """Return the targets as a table for people."""
    columns: tuple[str, ...] = ("target", "level", "last", "loss", "usual", "jitter", "address", "groups")
    if output.console().width < WIDE_COLUMNS:
        columns = ("target", "level", "last", "loss", "groups")
    rows = [_row(view) for view in views]
    listed = output.table(
        columns,
        [[row[column] for column in columns] for row in rows],
        "There is no target yet: ./espcli target NAME add ADDRESS",
        folded=("level", "groups"),
    )
    return starred(listed, any(view.target.simulated for view in views))


def _row(view: TargetView) -> dict[str, RenderableType]:
    target, summary = view.target, view.summary
    known = summary if summary is not None and not summary.unknown else None
    return {
        "target": marked(target.name, target.simulated),
        "level": summary_text(summary),
        "last": "–" if known is None else ms(known.last_ms) if known.last == "answered" else known.last,
        "loss": "–" if known is None else f"{known.loss_percent:.0f} %",
        "usual": "–" if known is None else ms(known.usual_ms),
        "jitter": "–" if known is None else ms(known.jitter_ms),
        "address": target.address,
        "groups": ", ".join(view.groups) or "–",
    }


class TargetCommands:
    """One target. Without a verb it is shown."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        view = with_store(functools.partial(service.view, name=self._name))
        return output.rendered(to_json(view), lambda: target_table([view]))

    def add(self, address: str, group: str = "", interval_ms: str = "1000", timeout_ms: str = "1000") -> None:
        """Begin to measure a host.

        Args:
            address: 192.0.2.1, router.lan, 2001:db8::1, tcp://HOST:PORT, icmp://HOST:PORT (TCP where ICMP is not
                permitted) or sim://calm (busy, lossy, dead, mixed).
            group: Group that judges it; without, the group 'default'.
            interval_ms: Time between two probes, 10 to 3600000.
            timeout_ms: How long an answer may take, 10 to 10000.
        """
        target = with_store(
            functools.partial(
                service.add,
                name=self._name,
                address=address,
                group=group or None,
                interval_ms=interval_ms,
                timeout_ms=timeout_ms,
                preset=settings().preset,
            )
        )
        output.say(
            f"{target.name} ({target.address}) is measured every {target.interval_ms} ms for {group or 'default'}.",
            target.to_dict(),
        )

    def set(self, address: str = "", interval_ms: str = "", timeout_ms: str = "") -> None:
        """Change how the target is measured; what is not given stays.

        Args:
            address: As for 'add'.
            interval_ms: Time between two probes, ms, 10 or more.
            timeout_ms: How long to wait for an answer, ms.
        """
        target = with_store(
            functools.partial(
                service.edit,
                name=self._name,
                address=address or None,
                interval_ms=interval_ms or None,
                timeout_ms=timeout_ms or None,
            )
        )
        output.say(f"{target.name} ({target.address}) is measured every {target.interval_ms} ms now.", target.to_dict())

    def remove(self) -> None:
        """Stop measuring the target, and take it out of its groups."""
        target = with_store(functools.partial(service.remove, name=self._name))
        output.say(f"{target.name} ({target.address}) is no longer measured.", target.to_dict())

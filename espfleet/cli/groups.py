"""Commands about groups and their levels."""

from __future__ import annotations

import functools
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.opening import settings, with_store, with_time
from espfleet.cli.words import age, level_text
from espfleet.domain.groups import THRESHOLD_NAMES, Combine
from espfleet.services import groups as service
from espfleet.services.groups import GroupView

if TYPE_CHECKING:
    from rich.console import RenderableType


NO_GROUP = "There is no group yet: ./espcli target NAME add ADDRESS makes the group 'default'"


def to_json(view: GroupView) -> dict[str, Any]:
    """Return a group as programs see it."""
    group = view.group
    return {
        "name": group.name,
        "level": view.level.level if view.level.band is not None else None,
        "state": view.level.state.value,
        "band": view.level.band.value if view.level.band is not None else None,
        "reason": view.level.reason,
        "at_ms": view.level.at_ms,
        "seq": view.level.seq,
        "targets": list(group.targets),
        "rooms": list(view.rooms),
        "preset": group.preset,
        "thresholds": asdict(group.thresholds),
        "own_thresholds": dict(group.overrides),
        "combine": group.combine.value,
        "quorum": group.quorum,
        "paused": group.paused,
        "labels": list(group.labels),
    }


def groups() -> None:
    """List the groups."""
    views = with_store(lambda store: service.views(store, now_ms=store.now_ms()))
    output.show([to_json(view) for view in views], lambda: _table(views))


def levels() -> None:
    """List the present levels."""
    views, at_ms = with_time(lambda store: service.views(store, now_ms=store.now_ms()))
    output.show([to_json(view) for view in views], lambda: level_table(views, at_ms))


def level_table(views: list[GroupView], at_ms: int) -> RenderableType:
    """Return the levels as a table for people."""
    return output.table(
        ("group", "level", "because", "since"),
        [
            (view.group.name, level_text(view.level), view.level.reason or "–", age(view.level.at_ms, at_ms))
            for view in views
        ],
        NO_GROUP,
        folded=("because",),
    )


def _table(views: list[GroupView]) -> RenderableType:
    return output.table(
        ("group", "level", "targets", "judged as", "rooms"),
        [
            (
                view.group.name,
                level_text(view.level),
                ", ".join(view.group.targets) or "–",
                _judged(view),
                ", ".join(view.rooms) or "–",
            )
            for view in views
        ],
        NO_GROUP,
        folded=("targets", "judged as", "rooms"),
    )


def _judged(view: GroupView) -> str:
    group = view.group
    combine = f"quorum of {group.quorum}" if group.combine is Combine.QUORUM else group.combine.value
    own = f", {len(group.overrides)} own thresholds" if group.overrides else ""
    return f"{combine}, {group.preset}{own}"


def _page(view: GroupView) -> RenderableType:
    from rich.console import Group as Stack

    thresholds = asdict(view.group.thresholds)
    own = dict(view.group.overrides)
    rows = [
        (
            name,
            "none" if thresholds[name] is None else f"{thresholds[name]:g}",
            "own" if name in own else view.group.preset,
        )
        for name in THRESHOLD_NAMES
    ]
    return Stack(_table([view]), output.table(("threshold", "value", "from"), rows, ""))


class GroupCommands:
    """One group. Without a verb it is shown."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        view = with_store(lambda store: service.view(store, name=self._name, now_ms=store.now_ms()))
        return output.rendered(to_json(view), lambda: _page(view))

    def add(self, *targets: str, preset: str = "", combine: str = "worst", quorum: str = "1") -> None:
        """Make the group.

        Args:
            targets: Names of targets it judges.
            preset: Thresholds: lan, broadband, mobile, satellite or pinglamp.
            combine: worst, median or quorum.
            quorum: For quorum: how many targets it takes.
        """
        group = with_store(
            functools.partial(
                service.add,
                name=self._name,
                targets=targets,
                preset=preset or settings().preset,
                combine=combine,
                quorum=quorum,
            )
        )
        output.say(f"Group {group.name} is there, with {len(group.targets)} targets.", group.to_dict())

    def include(self, *targets: str) -> None:
        """Let the group judge more targets.

        Args:
            targets: Their names.
        """
        group = with_store(functools.partial(service.include, name=self._name, targets=targets))
        output.say(f"Group {group.name} judges {', '.join(group.targets) or 'no target'} now.", group.to_dict())

    def exclude(self, *targets: str) -> None:
        """Take targets out of the group; they are still measured.

        Args:
            targets: Their names.
        """
        group = with_store(functools.partial(service.exclude, name=self._name, targets=targets))
        output.say(f"Group {group.name} judges {', '.join(group.targets) or 'no target'} now.", group.to_dict())

    def set(self, preset: str = "", combine: str = "", quorum: str = "", **thresholds: str) -> None:
        """Change how the group judges (./espcli group internet set --latency_orange_ms 80).

        Args:
            preset: Thresholds to start from; own ones are dropped.
            combine: worst, median or quorum.
            quorum: For quorum: how many targets it takes.
            thresholds: Any threshold that './espcli group NAME' lists; 'preset' gives the preset's value back, 'none'
                leaves jitter, jump or at_once out.
        """
        group = with_store(
            functools.partial(
                service.edit,
                name=self._name,
                preset=preset or None,
                combine=combine or None,
                quorum=quorum or None,
                thresholds=thresholds,
            )
        )
        output.say(f"Group {group.name} is changed.", group.to_dict())

    def pause(self) -> None:
        """Let the lamps of the group rest; it is still measured."""
        group = with_store(functools.partial(service.pause, name=self._name, paused=True))
        output.say(f"Group {group.name} is paused.", group.to_dict())

    def resume(self) -> None:
        """Show the group's level again."""
        group = with_store(functools.partial(service.pause, name=self._name, paused=False))
        output.say(f"Group {group.name} is shown again.", group.to_dict())

    def remove(self) -> None:
        """Remove the group; its targets are still measured."""
        group = with_store(functools.partial(service.remove, name=self._name))
        output.say(f"Group {group.name} is gone.", group.to_dict())

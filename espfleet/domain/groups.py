"""Groups: targets judged together into one level, each group with its own thresholds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from espfleet.domain.names import check_labels, check_name, check_number, check_whole, nearest, shown
from espfleet.errors import InvalidError

DEFAULT_GROUP = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where a contribution turns orange (level 50) and red (level 90).

    Attributes:
        latency_orange_ms, latency_red_ms: For the short and for the long median.
        jitter_orange_ms, jitter_red_ms: For the jitter of RFC 3550; ``None`` leaves jitter out.
        loss_orange_percent, loss_red_percent: For the loss of the last 60 s.
        jump_orange, jump_red: For the short median as a multiple of the baseline; ``None`` leaves jumps out.
        jump_ms: The short median must also lie this far above the baseline to count as a jump.
        at_once_red_ms: A single sample at or above it is red at once; ``None`` for no such rule.
    """

    latency_orange_ms: float
    latency_red_ms: float
    jitter_orange_ms: float | None
    jitter_red_ms: float | None
    loss_orange_percent: float
    loss_red_percent: float
    jump_orange: float | None
    jump_red: float | None
    jump_ms: float = 0.0
    at_once_red_ms: float | None = None


def _preset(
    latency: tuple[float, float],
    jitter: tuple[float | None, float | None],
    loss: tuple[float, float],
    jump: tuple[float | None, float | None, float],
    at_once_red_ms: float | None = None,
) -> Thresholds:
    return Thresholds(
        latency_orange_ms=latency[0],
        latency_red_ms=latency[1],
        jitter_orange_ms=jitter[0],
        jitter_red_ms=jitter[1],
        loss_orange_percent=loss[0],
        loss_red_percent=loss[1],
        jump_orange=jump[0],
        jump_red=jump[1],
        jump_ms=jump[2],
        at_once_red_ms=at_once_red_ms,
    )


#: Thresholds by kind of network; ``pinglamp`` holds the numbers that PING_LAMP shipped with.
PRESETS: Mapping[str, Thresholds] = MappingProxyType(
    {
        "lan": _preset((5, 20), (3, 10), (1.5, 5), (2.5, 5, 2)),
        "broadband": _preset((50, 150), (15, 40), (2, 10), (2.5, 5, 15)),
        "mobile": _preset((150, 300), (40, 100), (3, 15), (2.5, 5, 40)),
        "satellite": _preset((800, 1200), (60, 150), (3, 15), (1.7, 3, 100)),
        "pinglamp": _preset((20, 50), (None, None), (2, 10), (None, None, 0), at_once_red_ms=40),
    }
)
DEFAULT_PRESET = "broadband"
#: Pairs that must rise from orange to red.
_PAIRS = (
    ("latency_orange_ms", "latency_red_ms"),
    ("jitter_orange_ms", "jitter_red_ms"),
    ("loss_orange_percent", "loss_red_percent"),
    ("jump_orange", "jump_red"),
)
_RANGE: Mapping[str, tuple[float, float, str]] = MappingProxyType(
    {
        "latency_orange_ms": (0.001, 60_000, "ms"),
        "latency_red_ms": (0.001, 60_000, "ms"),
        "jitter_orange_ms": (0.001, 60_000, "ms"),
        "jitter_red_ms": (0.001, 60_000, "ms"),
        "loss_orange_percent": (0.01, 100, "percent"),
        "loss_red_percent": (0.01, 100, "percent"),
        "jump_orange": (1.01, 1_000, "times the baseline"),
        "jump_red": (1.01, 1_000, "times the baseline"),
        "jump_ms": (0, 60_000, "ms"),
        "at_once_red_ms": (0.001, 60_000, "ms"),
    }
)
#: Thresholds that may be left out, with the word ``none``.
_OPTIONAL = frozenset({"jitter_orange_ms", "jitter_red_ms", "jump_orange", "jump_red", "at_once_red_ms"})
THRESHOLD_NAMES = tuple(field.name for field in fields(Thresholds))


class Combine(StrEnum):
    """How the levels of a group's targets become one."""

    WORST = "worst"
    MEDIAN = "median"
    QUORUM = "quorum"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Targets judged together.

    Attributes:
        name: Name for people; unique among groups.
        targets: Names of the targets, without doubles, in the order they were added.
        preset: Name of the thresholds it starts from, a key of ``PRESETS``.
        overrides: Thresholds of its own, by field name of ``Thresholds``.
        combine: ``worst`` target, ``median`` target, or the level that at least ``quorum`` targets reach.
        quorum: Used by ``quorum`` only; 1 or more.
        paused: A paused group is still measured; its lamps show that they are paused.
        labels: Words for finding it.
    """

    name: str
    targets: tuple[str, ...] = ()
    preset: str = DEFAULT_PRESET
    overrides: tuple[tuple[str, float | None], ...] = ()
    combine: Combine = Combine.WORST
    quorum: int = 1
    paused: bool = False
    labels: tuple[str, ...] = ()

    @property
    def thresholds(self) -> Thresholds:
        """The preset with the group's own values laid over it."""
        changes: dict[str, Any] = dict(self.overrides)
        return replace(PRESETS[self.preset], **changes)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        values = asdict(self)
        values["overrides"] = dict(self.overrides)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Group:
        """Return the group that ``to_dict`` described; unknown fields are ignored."""
        known = {name: value for name, value in values.get("overrides", {}).items() if name in THRESHOLD_NAMES}
        return cls(
            name=values["name"],
            targets=tuple(values.get("targets", ())),
            preset=values.get("preset", DEFAULT_PRESET),
            overrides=tuple(sorted(known.items())),
            combine=Combine(values.get("combine", Combine.WORST)),
            quorum=values.get("quorum", 1),
            paused=values.get("paused", False),
            labels=tuple(values.get("labels", ())),
        )


def new_group(
    name: object,
    targets: Sequence[str] = (),
    preset: object = DEFAULT_PRESET,
    overrides: Mapping[str, object] | None = None,
    combine: object = Combine.WORST,
    quorum: object = 1,
    paused: bool = False,
    labels: Iterable[object] = (),
) -> Group:
    """Return a checked group.

    Raises:
        InvalidError: If a value cannot be used, or an orange threshold is not below its red one.
    """
    if preset not in PRESETS:
        raise InvalidError(f"{shown(preset)} is not a preset: use one of {', '.join(PRESETS)}", field="preset")
    try:
        rule = Combine(str(combine))
    except ValueError:
        raise InvalidError(
            f"{shown(combine)} is not a way to combine: use {', '.join(Combine)}", field="combine"
        ) from None
    checked = {name: _threshold(name, value) for name, value in (overrides or {}).items()}
    group = Group(
        name=check_name(name, "group"),
        targets=tuple(dict.fromkeys(check_name(target, "target") for target in targets)),
        preset=str(preset),
        overrides=tuple(sorted(checked.items())),
        combine=rule,
        quorum=check_whole(quorum, "quorum", 1, 1_000_000),
        paused=paused,
        labels=check_labels(labels),
    )
    _check_order(group.thresholds)
    return group


def _threshold(name: str, value: object) -> float | None:
    if name not in _RANGE:
        close = nearest(name, THRESHOLD_NAMES)
        hint = f"did you mean {close[0]!r}?" if close else f"use one of {', '.join(THRESHOLD_NAMES)}"
        raise InvalidError(f"{shown(name)} is not a threshold; {hint}", field=name)
    if name in _OPTIONAL and (value is None or str(value).lower() == "none"):
        return None
    low, high, unit = _RANGE[name]
    return check_number(value, name, low, high, unit)


def _check_order(thresholds: Thresholds) -> None:
    for orange_name, red_name in _PAIRS:
        orange, red = getattr(thresholds, orange_name), getattr(thresholds, red_name)
        if (orange is None) != (red is None):
            raise InvalidError(f"set both {orange_name} and {red_name}, or neither", field=orange_name)
        if orange is not None and not orange < red:
            raise InvalidError(f"{orange_name} ({orange:g}) must be below {red_name} ({red:g})", field=orange_name)

"""Taking over the set-up of other systems."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from espfleet.domain.groups import Group, new_group
from espfleet.domain.names import check_number, shown
from espfleet.domain.registry import Registry
from espfleet.domain.targets import INTERVAL_MS, Target, new_target
from espfleet.errors import ConflictError, InvalidError
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change

PINGLAMP_GROUP = "pinglamp"
_HOST_KEY = re.compile("PING_TARGET_(0|[1-9][0-9]{0,5})_HOST")
#: Thresholds of PING_LAMP and ours of the same meaning.
_THRESHOLDS = {
    "AVG_ORANGE_THRESHOLD_MS": "latency_orange_ms",
    "AVG_RED_THRESHOLD_MS": "latency_red_ms",
    "ABS_RED_SHORT_TERM_MS": "at_once_red_ms",
}
#: Settings that espfleet has as well; they belong into its own ``.env``.
_SETTINGS = frozenset({"SHORT_WINDOW_S", "LONG_WINDOW_S", "SERVER_HOST", "SERVER_PORT", "LOG_LEVEL"})
#: Settings that have no meaning here, each with the reason.
_WITHOUT_USE = {
    "AGGREGATION_INTERVAL_S": "levels are sent as they change; PINGLAMP_TICK_MS is the tick of PING_LAMP clients",
    "LONG_TERM_CALC_INTERVAL_S": "the long window is kept up to date with every sample",
    "Z_SCORE_ORANGE_THRESHOLD": "jumps are judged against a baseline, not by z-score",
    "Z_SCORE_RED_THRESHOLD": "jumps are judged against a baseline, not by z-score",
    "MIN_STD_DEV_MS": "jumps are judged against a baseline, not by z-score",
    "CLIENT_WATCHDOG_TIMEOUT_S": "WATCHDOG_MS says when a silent lamp is offline",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a PING_LAMP ``.env``.

    Attributes:
        targets: Targets that are measured now.
        group: Group that judges them, with the thresholds of the file.
        settings: Lines for espfleet's own ``.env``.
        left_out: Names that were not used, each with the reason.
    """

    targets: tuple[Target, ...]
    group: Group
    settings: tuple[str, ...]
    left_out: tuple[tuple[str, str], ...]


def read_pinglamp(values: Mapping[str, str | None]) -> Imported:
    """Return what the values of a PING_LAMP ``.env`` mean here.

    Raises:
        InvalidError: If there is no target in them, or a value cannot be used; the text names the key.
    """
    numbers = sorted(int(match[1]) for key in values if (match := _HOST_KEY.fullmatch(key)))
    if not numbers:
        raise InvalidError("there is no PING_TARGET_1_HOST in it, so nothing was imported")
    targets = tuple(_target(values, number) for number in numbers)
    own = {ours: _value(values, key, 0.001, 60_000) for key, ours in _THRESHOLDS.items() if key in values}
    group = new_group(PINGLAMP_GROUP, [target.name for target in targets], PINGLAMP_GROUP, own)
    return Imported(
        targets=targets,
        group=group,
        settings=tuple(f"{key}={values[key]}" for key in values if key in _SETTINGS),
        left_out=tuple(
            (key, _WITHOUT_USE.get(key, "it is not a setting of PING_LAMP")) for key in values if _unused(key)
        ),
    )


def _unused(key: str) -> bool:
    return key not in _SETTINGS and key not in _THRESHOLDS and not key.startswith("PING_TARGET_")


def _target(values: Mapping[str, str | None], number: int) -> Target:
    interval_key, host_key = f"PING_TARGET_{number}_INTERVAL_S", f"PING_TARGET_{number}_HOST"
    if interval_key not in values:
        raise InvalidError(f"{host_key} has no {interval_key}", field=interval_key)
    interval_ms = round(_value(values, interval_key, INTERVAL_MS[0] / 1_000, INTERVAL_MS[1] / 1_000) * 1_000)
    try:
        return new_target(f"T{number}", values[host_key], interval_ms)
    except InvalidError as exc:
        raise InvalidError(f"{host_key}: {exc}", field=host_key) from exc


def _value(values: Mapping[str, str | None], key: str, low: float, high: float) -> float:
    return check_number(values[key] if values[key] is not None else "", key, low, high)


async def take_over(store: Store, imported: Imported) -> None:
    """Store the targets and the group of an import; doing it twice changes nothing.

    Raises:
        ConflictError: If there are others of these names already.
    """

    def plan(current: Registry) -> list[Change]:
        changes = []
        for target in imported.targets:
            known = current.targets.get(target.name)
            if known not in (None, target):
                raise ConflictError(
                    f"there is another target {shown(target.name)} already; remove or keep it, then import again"
                )
            if known is None:
                changes.append(Change("targets", target.name, target.to_dict()))
        known_group = current.groups.get(imported.group.name)
        if known_group not in (None, imported.group):
            raise ConflictError(f"there is another group {shown(imported.group.name)} already")
        if known_group is None:
            changes.append(Change("groups", imported.group.name, imported.group.to_dict()))
        return changes

    await registry.change(store, plan)

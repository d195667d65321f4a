"""What can be done with groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from espfleet.domain.groups import DEFAULT_PRESET, Combine, Group, new_group
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.errors import ConflictError, InvalidError
from espfleet.services import levels
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupView:
    """A group with its present level and the rooms that watch it."""

    group: Group
    level: GroupLevel
    rooms: tuple[str, ...]


async def add(
    store: Store,
    *,
    name: str,
    targets: Sequence[str] = (),
    preset: str = DEFAULT_PRESET,
    combine: str = Combine.WORST,
    quorum: object = 1,
    labels: Iterable[str] = (),
) -> Group:
    """Make a group; doing it twice changes nothing.

    Raises:
        InvalidError: If a value cannot be used.
        ConflictError: If there is another group of this name.
        NotFoundError: If one of ``targets`` does not exist.
    """
    group = new_group(name, targets, preset, combine=combine, quorum=quorum, labels=labels)

    def plan(current: Registry) -> list[Change]:
        for target in group.targets:
            current.target(target)
        known = current.groups.get(group.name)
        if known is not None and known != group:
            raise ConflictError(
                f"group {group.name!r} is there already; change it with './espcli group {group.name} …'"
            )
        return [] if known else [Change("groups", group.name, group.to_dict())]

    await registry.change(store, plan)
    return group


async def edit(
    store: Store,
    *,
    name: str,
    preset: str | None = None,
    combine: str | None = None,
    quorum: object = None,
    thresholds: Mapping[str, object] | None = None,
) -> Group:
    """Change how a group judges; what is ``None`` stays.

    Args:
        store: Where the fleet is kept.
        name: An existing group.
        preset: Thresholds to start from; the group's own values are then dropped.
        combine: ``worst``, ``median`` or ``quorum``.
        quorum: How many targets it takes, for ``quorum``.
        thresholds: Values of its own by threshold name; the word ``preset`` gives the preset's back.

    Raises:
        InvalidError: If a value cannot be used.
        NotFoundError: If there is no such group.
    """

    def change(current: Registry, group: Group) -> Group:
        del current
        own: dict[str, object] = {} if preset is not None else dict(group.overrides)
        for threshold, value in (thresholds or {}).items():
            if value == "preset":
                own.pop(threshold, None)
            else:
                own[threshold] = value
        return new_group(
            group.name,
            group.targets,
            group.preset if preset is None else preset,
            own,
            group.combine if combine is None else combine,
            group.quorum if quorum is None else quorum,
            group.paused,
            group.labels,
        )

    return await _edit(store, name, change)


async def include(store: Store, *, name: str, targets: Sequence[str]) -> Group:
    """Let a group judge more targets.

    Raises:
        NotFoundError: If there is no such group or target.
    """

    def change(current: Registry, group: Group) -> Group:
        added = tuple(current.target(target).name for target in targets)
        return replace(group, targets=tuple(dict.fromkeys((*group.targets, *added))))

    return await _edit(store, name, change)


async def exclude(store: Store, *, name: str, targets: Sequence[str]) -> Group:
    """Take targets out of a group; they are still measured.

    Raises:
        NotFoundError: If there is no such group.
        InvalidError: If one of them is not in it.
    """

    def change(current: Registry, group: Group) -> Group:
        del current
        for target in targets:
            if target not in group.targets:
                raise InvalidError(f"target {target!r} is not in group {name!r}", field="targets")
        return replace(group, targets=tuple(kept for kept in group.targets if kept not in targets))

    return await _edit(store, name, change)


async def pause(store: Store, *, name: str, paused: bool) -> Group:
    """Let the lamps of a group rest, or show its level again.

    Raises:
        NotFoundError: If there is no such group.
    """
    return await _edit(store, name, lambda _, group: replace(group, paused=paused))


async def remove(store: Store, *, name: str) -> Group:
    """Remove a group; its targets are still measured.

    Raises:
        NotFoundError: If there is no such group.
        ConflictError: If a room or a device shows it.
    """
    gone: list[Group] = []

    def plan(current: Registry) -> list[Change]:
        gone[:] = [current.group(name)]
        users = [f"room {room.name!r}" for room in current.rooms.values() if room.group == name]
        users += [f"device {device.name!r}" for device in current.devices.values() if device.group == name]
        if users:
            raise ConflictError(
                f"group {name!r} is shown by {users[0]}{_and_more(len(users))}; choose another for it first"
            )
        return [Change("groups", name, None)]

    await registry.change(store, plan)
    return gone[0]


def _and_more(count: int) -> str:
    return f" and {count - 1} more" if count > 1 else ""


async def _edit(store: Store, name: str, edit_one: Callable[[Registry, Group], Group]) -> Group:
    edited: list[Group] = []

    def plan(current: Registry) -> list[Change]:
        group = current.group(name)
        edited[:] = [edit_one(current, group)]
        return [] if edited[0] == group else [Change("groups", name, edited[0].to_dict())]

    await registry.change(store, plan)
    return edited[0]


async def views(store: Store, *, now_ms: int) -> list[GroupView]:
    """Return every group with its present level, by name."""
    current = await registry.latest(store)
    by_group = await levels.read(store, registry=current, now_ms=now_ms)
    return [
        GroupView(
            group=group,
            level=by_group[group.name],
            rooms=tuple(sorted(room.name for room in current.rooms.values() if room.group == group.name)),
        )
        for group in sorted(current.groups.values(), key=lambda group: group.name)
    ]


async def view(store: Store, *, name: str, now_ms: int) -> GroupView:
    """Return one group with its present level.

    Raises:
        NotFoundError: If there is no such group.
    """
    (await registry.load(store)).group(name)
    return next(found for found in await views(store, now_ms=now_ms) if found.group.name == name)

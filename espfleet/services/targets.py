"""What can be done with targets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from espfleet.domain.groups import DEFAULT_GROUP, DEFAULT_PRESET, Group, new_group
from espfleet.domain.registry import Registry
from espfleet.domain.summary import TargetSummary, parse_summary
from espfleet.domain.targets import DEFAULT_INTERVAL_MS, DEFAULT_TIMEOUT_MS, Target, new_target
from espfleet.errors import ConflictError
from espfleet.store import levels, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetView:
    """A target with what is known of it now.

    Attributes:
        target: What is stored.
        groups: Groups it is in.
        summary: What its samples say, as the worst of its groups sees it; ``None`` while nothing is known.
    """

    target: Target
    groups: tuple[str, ...]
    summary: TargetSummary | None


async def add(
    store: Store,
    *,
    name: str,
    address: str,
    group: str | None = None,
    interval_ms: object = DEFAULT_INTERVAL_MS,
    timeout_ms: object = DEFAULT_TIMEOUT_MS,
    labels: Iterable[str] = (),
    preset: str = DEFAULT_PRESET,
) -> Target:
    """Begin to measure a host; doing it twice changes nothing.

    Args:
        store: Where the fleet is kept.
        name: Name for people; unique among targets.
        address: ``192.0.2.1``, ``router.lan``, ``tcp://HOST:PORT``, ``sim://SPELL?seed=N`` …
        group: Group that judges it; an existing one. ``None`` means the group ``default``, made when missing.
        interval_ms: Time between two probes.
        timeout_ms: How long an answer may take.
        labels: Words for finding it.
        preset: Thresholds of the group ``default`` when it is made.

    Raises:
        InvalidError: If a value cannot be used.
        ConflictError: If there is a target of this name with another address or timing.
        NotFoundError: If there is no such group.
    """
    target = new_target(name, address, interval_ms, timeout_ms, labels)

    def plan(current: Registry) -> list[Change]:
        known = current.targets.get(target.name)
        if known is not None and replace(known, labels=target.labels) != target:
            raise ConflictError(
                f"target {target.name!r} is there already, with {known.address} every {known.interval_ms} ms; "
                f"change it with './espcli target {target.name} set'"
            )
        home = current.group(group) if group else current.groups.get(DEFAULT_GROUP)
        home = home or new_group(DEFAULT_GROUP, preset=preset)
        changes = [] if known == target else [Change("targets", target.name, target.to_dict())]
        if target.name not in home.targets:
            changes.append(_put(replace(home, targets=(*home.targets, target.name))))
        return changes

    await registry.change(store, plan)
    return target


async def edit(
    store: Store,
    *,
    name: str,
    address: str | None = None,
    interval_ms: object = None,
    timeout_ms: object = None,
) -> Target:
    """Change how a target is measured; what is ``None`` stays.

    Raises:
        InvalidError: If a value cannot be used.
        NotFoundError: If there is no such target.
    """
    edited: list[Target] = []

    def plan(current: Registry) -> list[Change]:
        known = current.target(name)
        edited[:] = [
            new_target(
                known.name,
                known.address if address is None else address,
                known.interval_ms if interval_ms is None else interval_ms,
                known.timeout_ms if timeout_ms is None else timeout_ms,
                known.labels,
            )
        ]
        return [] if edited[0] == known else [Change("targets", known.name, edited[0].to_dict())]

    await registry.change(store, plan)
    return edited[0]


async def remove(store: Store, *, name: str) -> Target:
    """Stop measuring a target and take it out of its groups.

    Raises:
        NotFoundError: If there is no such target.
    """
    gone: list[Target] = []

    def plan(current: Registry) -> list[Change]:
        gone[:] = [current.target(name)]
        return [*without(current, {name}), Change("targets", name, None)]

    await registry.change(store, plan)
    return gone[0]


def without(current: Registry, names: set[str]) -> list[Change]:
    """Return the changes that take targets out of every group."""
    return [
        _put(replace(group, targets=tuple(target for target in group.targets if target not in names)))
        for group in current.groups.values()
        if names.intersection(group.targets)
    ]


def _put(group: Group) -> Change:
    return Change("groups", group.name, group.to_dict())


async def views(store: Store) -> list[TargetView]:
    """Return every target with what is known of it now, by name."""
    current = await registry.latest(store)
    known: dict[str, TargetSummary] = {}
    now_ms = await store.time_ms()
    for shard in range(store.shards):
        blob = await levels.get_snapshot(store, shard)
        if blob is not None:
            summary = parse_summary(blob)
            late_ms = max(0, now_ms - summary.at_ms)
            known.update((name, _now(one, late_ms)) for name, one in summary.targets.items())
    return [
        TargetView(
            target=target,
            groups=current.groups_of_target.get(target.name, ()),
            summary=known.get(target.name),
        )
        for target in sorted(current.targets.values(), key=lambda target: target.name)
    ]


def _now(summary: TargetSummary, late_ms: int) -> TargetSummary:
    """Return a summary of some time ago as it is now: older, and without a present latency where nothing is known."""
    return replace(
        summary,
        now_ms=None if summary.unknown else summary.now_ms,
        age_ms=None if summary.age_ms is None else summary.age_ms + late_ms,
    )


async def view(store: Store, *, name: str) -> TargetView:
    """Return one target with what is known of it now.

    Raises:
        NotFoundError: If there is no such target.
    """
    (await registry.load(store)).target(name)
    return next(found for found in await views(store) if found.target.name == name)

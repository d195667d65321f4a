"""Why a lamp is the colour it is: the level computed again from the samples, with every step shown."""

from __future__ import annotations

from dataclasses import dataclass

from espfleet.domain.explain import Explanation
from espfleet.domain.levels import LevelBook
from espfleet.domain.names import nearest
from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.domain.sizes import USUAL, Memory
from espfleet.domain.states import GroupLevel
from espfleet.errors import ConflictError, NotFoundError
from espfleet.services import levels
from espfleet.services.intake import Intake
from espfleet.services.sample_times import recent
from espfleet.store import registry, workers
from espfleet.store.client import Store
from espfleet.store.samples import ShardReader


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """Answer of ``why``.

    Attributes:
        asked: What was asked for, such as ``device 'porch'``.
        way: How that leads to the group, one step a line.
        published: The level that lamps are told now.
        explanation: The level as the samples give it, target by target.
        samples: How many samples it was computed from.
    """

    asked: str
    way: tuple[str, ...]
    published: GroupLevel
    explanation: Explanation
    samples: int


async def why(store: Store, *, name: str, now_ms: int) -> Why:
    """Return why a device, room, group or target shows the level it shows.

    Args:
        store: Where the fleet is kept.
        name: Name of a device, room, group or target; or ``KIND NAME`` where several have it.
        now_ms: Current time, ms since the epoch.

    Raises:
        NotFoundError: If nothing has that name.
        ConflictError: If it leads to no group, or to more than one kind of thing.
    """
    current = await registry.load(store)
    asked, way, group = _group(current, name)
    published = (await levels.read(store, registry=current, now_ms=now_ms))[group]
    book, count = await _book(store, current, group, now_ms)
    return Why(
        asked=asked,
        way=tuple(way),
        published=published,
        explanation=book.explain(group, now_ms),
        samples=count,
    )


async def _memory(store: Store) -> Memory:
    """Return how long the past counts for the levelers, as one of them tells."""
    for info in (await workers.alive(store, "leveler")).values():
        return Memory(**info["memory"])
    return USUAL


async def _book(store: Store, current: Registry, group: str, now_ms: int) -> tuple[LevelBook, int]:
    """Return a book that holds this group alone, filled from the stream, and the number of samples in it."""
    shard = shard_of(group, store.shards)
    memory = await _memory(store)
    book = LevelBook(memory)
    members = {name: current.targets[name] for name in current.groups[group].targets if name in current.targets}
    book.configure(members, {group: current.groups[group]})
    history = await recent(ShardReader(store, shard, "why"), now_ms, memory.long_ms)
    count = await Intake(store, shard, book).add(history, now_ms)
    book.evaluate(now_ms)
    return book, count


def _group(current: Registry, name: str) -> tuple[str, list[str], str]:
    """Return what was asked for, the steps from there to a group, and the group."""
    kind, _, rest = name.partition(" ")
    kinds = {
        "device": current.device_ids,
        "room": current.rooms,
        "group": current.groups,
        "target": current.targets,
    }
    if rest and kind in kinds:
        kinds, name = {kind: kinds[kind]}, rest.strip()
    found = [kind for kind, known in kinds.items() if name in known]
    if not found:
        everything = {known for names in kinds.values() for known in names}
        raise NotFoundError(" or ".join(kinds), name, nearest(name, everything))
    if len(found) > 1 and "group" not in found:
        raise ConflictError(
            f"{' and '.join(f'a {kind}' for kind in found)} are called {name!r}; "
            f"ask for one of them: './espcli why \"{found[0]} {name}\"'"
        )
    # A room and the group it watches often share a name, and mean the same level.
    kind = "group" if "group" in found else found[0]
    way, group = _way(current, kind, name)
    if group is None:
        raise ConflictError(f"{kind} {name!r} has no level: {way[-1]}")
    if group not in current.groups:
        raise ConflictError(f"{kind} {name!r} has no level: there is no group {group!r}")
    return f"{kind} {name!r}", way, group


def _way(current: Registry, kind: str, name: str) -> tuple[list[str], str | None]:
    if kind == "device":
        device = current.device(name)
        if device.group is not None:
            return [f"device {name!r} shows group {device.group!r} by its own choice"], device.group
        if device.room is None or device.room not in current.rooms:
            return ["it is in no room"], None
        way, group = _way(current, "room", device.room)
        return [f"device {name!r} is in room {device.room!r}", *way], group
    if kind == "room":
        group = current.rooms[name].group
        return [f"room {name!r} watches group {group!r}" if group else "it watches no group"], group
    if kind == "target":
        groups = current.groups_of_target.get(name, ())
        others = f" (and {len(groups) - 1} more)" if groups[1:] else ""
        return [f"target {name!r} is in group {groups[0]!r}{others}" if groups else "it is in no group"], next(
            iter(groups), None
        )
    return [], name

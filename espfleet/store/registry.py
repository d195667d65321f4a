"""The registry in Redis: one hash for each kind of thing, and one version for all of them.

Whoever changes it loads it, plans, and writes on the condition that the version is still the same; so rules that
concern several things, such as unique names, hold without locks.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from espfleet.domain.actors import difference
from espfleet.domain.devices import Device
from espfleet.domain.groups import Group
from espfleet.domain.jobs import Job
from espfleet.domain.names import shown
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import Room
from espfleet.domain.sensors import Sensor
from espfleet.domain.targets import Target
from espfleet.errors import ConflictError, InvalidError
from espfleet.store import audit
from espfleet.store.client import Store
from espfleet.store.keys import KINDS

Make = Callable[[Mapping[str, Any]], Any]
#: A row as it is stored, and what it means.
Row = tuple[bytes, Any]
_MAKERS: Mapping[str, Make] = {
    "devices": Device.from_dict,
    "rooms": Room.from_dict,
    "groups": Group.from_dict,
    "targets": Target.from_dict,
    "jobs": Job.from_dict,
    "sensors": Sensor.from_dict,
}
#: Rows read before, for each open fleet: reading 10,000 devices anew after each change would hold a gateway up.
_known: WeakKeyDictionary[Store, dict[str, dict[str, Row]]] = WeakKeyDictionary()
#: The registry as it was loaded last, for each open fleet.
_latest: WeakKeyDictionary[Store, Registry] = WeakKeyDictionary()
#: Tokens as they were loaded last, with the version of the registry before that, for each open fleet.
_latest_tokens: WeakKeyDictionary[Store, tuple[int, dict[str, dict[str, Any]]]] = WeakKeyDictionary()
#: How often a change is planned anew because others were faster.
TRIES = 100
#: Rows of one write, where a change may be written in pieces: each keeps Redis busy for about 3 ms.
ROWS_A_PIECE = 1_000
#: So many rows of one change are described in the audit.
DESCRIBED = 20


@dataclass(frozen=True, slots=True)
class Change:
    """One row to write.

    Attributes:
        kind: Table of the row, one of ``keys.KINDS``.
        key: Hardware id of a device, hash of a token, else the name.
        value: The row, or ``None`` to delete it.
        about: How people know it; ``""`` for the name in the row, or else the key.
    """

    kind: str
    key: str
    value: Mapping[str, Any] | None
    about: str = ""


async def load(store: Store) -> Registry:
    """Return the registry as it was at one moment."""
    keys = store.keys
    commands = [("GET", keys.version()), *(("HGETALL", keys.table(kind)) for kind in _MAKERS)]
    found_version, *tables = await store.do_all(commands, atomic=True)
    known = _known.setdefault(store, {kind: {} for kind in _MAKERS})
    for kind, table in zip(_MAKERS, tables, strict=True):
        known[kind] = _things(table, known[kind], _MAKERS[kind])
    things = {kind: {key: thing for key, (_, thing) in rows.items()} for kind, rows in known.items()}
    return Registry(version=int(found_version or 0), **things)


def check(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Registry:
    """Return the registry that rows mean.

    Raises:
        InvalidError, KeyError, TypeError, ValueError: If a row means nothing.
    """
    made: dict[str, Any] = {
        kind: {key: make(row) for key, row in tables.get(kind, {}).items()} for kind, make in _MAKERS.items()
    }
    for kind, things in made.items():
        for key, thing in things.items():
            own = thing.id if kind == "devices" else getattr(thing, "key", thing.name)
            if own != key:
                raise InvalidError(f"{shown(key)} is the key of {shown(own)}", field=kind)
    return Registry(**made)


async def latest(store: Store) -> Registry:
    """Return the registry, loaded anew only if its version has changed; for doors that are asked often."""
    known = _latest.get(store)
    if known is None or await version(store) != known.version:
        known = _latest[store] = await load(store)
    return known


def _things(table: Mapping[bytes, bytes], known: Mapping[str, Row], make: Make) -> dict[str, Row]:
    """Return the rows of a table with what they mean; rows that are as they were are not read again."""
    rows: dict[str, Row] = {}
    for key_bytes, text in table.items():
        key = key_bytes.decode()
        before = known.get(key)
        rows[key] = before if before is not None and before[0] == text else (text, make(json.loads(text)))
    return rows


async def version(store: Store) -> int:
    """Return the version; it differs, and is higher, after every change, also after one that follows a flush."""
    return int(await store.do("GET", store.keys.version()) or 0)


async def tokens(store: Store) -> dict[str, dict[str, Any]]:
    """Return the tokens of people and programs, by hash."""
    found = await store.do("HGETALL", store.keys.table("tokens"))
    return {key.decode(): json.loads(row) for key, row in found.items()}


async def latest_tokens(store: Store) -> dict[str, dict[str, Any]]:
    """Return the same, loaded anew only if the registry's version has changed; for doors that are asked often."""
    newest = await version(store)
    known = _latest_tokens.get(store)
    if known is None or known[0] != newest:
        # What is changed meanwhile is loaded with the next question.
        known = _latest_tokens[store] = newest, await tokens(store)
    return known[1]


async def apply(store: Store, changes: Sequence[Change], expected_version: int, before: Registry | None = None) -> int:
    """Write all changes or none, with who makes them, and tell everybody.

    Args:
        store: Where the fleet is kept.
        changes: What to write.
        expected_version: Version of the registry that the changes were planned on.
        before: That registry, to tell what becomes other than it was.

    Returns:
        The new version.

    Raises:
        ConflictError: If the version is no longer the expected one.
    """
    keys = store.keys
    did = audit.written("change", _described(changes, before), store.now_ms())
    words: list[str | int] = [expected_version, keys.registry_channel(), audit.KEPT, did]
    for change in changes:
        row = "" if change.value is None else json.dumps(change.value, separators=(",", ":"))
        words += [KINDS.index(change.kind) + 1, change.key, row]
    tables = [keys.table(kind) for kind in KINDS]
    new_version = int(await store.run("apply_changes", [keys.version(), keys.audit(), *tables], words))
    if not new_version:
        raise ConflictError("the fleet was changed by somebody else meanwhile; try again")
    return new_version


def _described(changes: Sequence[Change], before: Registry | None) -> dict[str, Any]:
    """Return what changes do, for those who want to know later; of many, the first."""
    rows = []
    for change in changes[:DESCRIBED]:
        thing = getattr(before, change.kind, {}).get(change.key) if before is not None else None
        row = None if thing is None else thing.to_dict()
        name = change.about or str((change.value or row or {}).get("name", "")) or _public(change)
        rows.append({"kind": change.kind, "name": name, **difference(row, change.value)})
    more = len(changes) - len(rows)
    return {"rows": rows, **({"more": more} if more else {})}


def _public(change: Change) -> str:
    """Return the key of a change, unless it is the hash of a token."""
    return "" if change.kind == "tokens" else change.key


async def change(store: Store, plan: Callable[[Registry], Sequence[Change]]) -> Registry:
    """Change the registry by a plan that sees it as it is.

    Args:
        store: Where the fleet is kept.
        plan: Returns what to write, or raises; it is called again when others were faster, so it must not have
            effects of its own. Returning nothing changes nothing.

    Returns:
        The registry with the changes.

    Raises:
        ConflictError: If others were faster ``TRIES`` times.
    """
    for tries in range(TRIES):
        before = await load(store)
        changes = plan(before)
        if not changes:
            return before
        try:
            new_version = await apply(store, changes, before.version, before)
        except ConflictError:
            await asyncio.sleep(random.uniform(0, 0.002 * min(tries + 1, 25)))
        else:
            return changed(before, changes, new_version)
    raise ConflictError("too many others change the fleet at this moment; try again")


async def change_in_pieces(store: Store, plan: Callable[[Registry], Sequence[Change]]) -> None:
    """Change the registry by a plan that may have thousands of rows, a piece at a time, so that nobody waits for it.

    Args:
        store: Where the fleet is kept.
        plan: As for ``change``; it leaves out what is done already, and others may see any part of it done.

    Raises:
        ConflictError: If others were faster ``TRIES`` times.
    """
    for tries in range(TRIES):
        before = await load(store)
        changes, newest = plan(before), before.version
        try:
            for start in range(0, len(changes), ROWS_A_PIECE):
                newest = await apply(store, changes[start : start + ROWS_A_PIECE], newest, before)
        except ConflictError:
            await asyncio.sleep(random.uniform(0, 0.002 * min(tries + 1, 25)))
        else:
            return
    raise ConflictError("too many others change the fleet at this moment; try again")


def changed(before: Registry, changes: Sequence[Change], new_version: int) -> Registry:
    """Return the registry after changes, without asking Redis."""
    tables: dict[str, dict[str, Any]] = {kind: dict(getattr(before, kind)) for kind in _MAKERS}
    for change in changes:
        if change.kind not in tables:
            continue
        if change.value is None:
            tables[change.kind].pop(change.key, None)
        else:
            tables[change.kind][change.key] = _MAKERS[change.kind](change.value)
    return Registry(version=new_version, **tables)

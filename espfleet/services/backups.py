"""Backups: everything that people have set up as one file, and a fleet made from one."""

from __future__ import annotations

from dataclasses import dataclass

from espfleet import __version__
from espfleet.domain import backups
from espfleet.domain.backups import Backup
from espfleet.domain.migration import migrated
from espfleet.domain.sound import check_holders, check_sound
from espfleet.errors import ConflictError, InvalidError
from espfleet.store import audit, registry, tables
from espfleet.store.client import Store
from espfleet.store.keys import KINDS


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did: the backup, and how many rows it replaced, by kind."""

    backup: Backup
    replaced: dict[str, int]


async def make(store: Store, *, now_ms: int) -> tuple[Backup, bytes]:
    """Return what is set up at this moment, and the file that holds it."""
    stored = await tables.read(store)
    made = Backup(schema=stored.schema, made_ms=now_ms, made_by=__version__, tables=stored.tables)
    return made, backups.pack(made)


async def restore(store: Store, *, blob: bytes, force: bool = False) -> Restored:
    """Set the fleet up as the file of a backup says: all of it, or nothing.

    What people had set up before is gone then; levels, presence and history stay, and fit again within seconds.

    Args:
        store: Where the fleet is kept.
        blob: The file.
        force: Also replace a fleet that is not empty.

    Raises:
        InvalidError: If the file is damaged or none, was made by a newer espfleet, or holds what could not have been
            set up here; nothing is written.
        ConflictError: If the fleet is not empty, or was changed meanwhile; nothing is written.
    """
    backup = backups.unpack(blob)
    rows = migrated(backup.tables, backup.schema)
    strangers = sorted(set(rows) - set(KINDS))
    if strangers:
        raise InvalidError(f"this backup holds {strangers[0]!r}, which this espfleet does not know: update it")
    try:
        check_sound(registry.check(rows))
        check_holders(rows.get("tokens", {}))
    except (InvalidError, KeyError, TypeError, ValueError, AttributeError) as exc:
        raise InvalidError(f"this backup holds a row that cannot be used: {exc}", field="file") from exc
    before = await tables.read(store)
    replaced = {kind: len(found) for kind, found in before.tables.items() if found}
    if replaced and not force:
        counts = ", ".join(f"{count} {kind}" for kind, count in replaced.items())
        raise ConflictError(f"this fleet is not empty ({counts}): --force replaces all of that by the backup")
    did = audit.written(
        "restore", {"rows": backup.counts, "replaced": replaced, "made_ms": backup.made_ms}, store.now_ms()
    )
    await tables.replace(store, rows, before, did=did)
    return Restored(backup, replaced)

"""The registry as plain rows, read and written as a whole: for backups, and for bringing an older fleet up to date."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from espfleet.domain.migration import SCHEMA, STEPS, Step, Tables, migrated
from espfleet.errors import ConflictError, StoreError
from espfleet.store.keys import KINDS

if TYPE_CHECKING:
    # The client itself brings a fleet up to date when it opens one.
    from espfleet.store.client import Store

logger = logging.getLogger(__name__)

TRIES = 20
#: Entries of the audit that are kept, as ``audit`` has it, which cannot be imported here.
AUDITED = 10_000


@dataclass(frozen=True, slots=True)
class Stored:
    """All rows as they were at one moment.

    Attributes:
        version: Of the registry.
        schema: Version of the layout of the rows.
        tables: Rows by kind and key; every kind is there.
    """

    version: int
    schema: int
    tables: Tables


async def read(store: Store) -> Stored:
    """Return everything that people have set up."""
    keys = store.keys
    tables = [("HGETALL", keys.table(kind)) for kind in KINDS]
    version, schema, *found = await store.do_all(
        [("GET", keys.version()), ("HGET", keys.settings(), "schema"), *tables], atomic=True
    )
    rows = {
        kind: {key.decode(): json.loads(text) for key, text in table.items()}
        for kind, table in zip(KINDS, found, strict=True)
    }
    return Stored(int(version or 0), int(schema or SCHEMA), rows)


async def replace(store: Store, tables: Tables, before: Stored, schema: int = SCHEMA, did: str = "") -> int:
    """Write these rows instead of all that are there, at once; return the new version.

    Args:
        store: Where the fleet is kept.
        tables: What to write.
        before: What was read; nothing is written if that is no longer so.
        schema: Version of the layout of the new rows.
        did: Entry of the audit that is written in the same step, or ``""``.

    Raises:
        ConflictError: If the fleet was changed meanwhile.
    """
    keys = store.keys
    words: list[str | int] = [before.version, before.schema, schema, keys.registry_channel(), AUDITED, did]
    for number, kind in enumerate(KINDS, 1):
        for key, row in tables.get(kind, {}).items():
            words += [number, key, json.dumps(row, separators=(",", ":"))]
    named = [keys.settings(), keys.version(), keys.audit(), *(keys.table(kind) for kind in KINDS)]
    version = int(await store.run("replace_tables", named, words))
    if not version:
        raise ConflictError("the fleet was changed by somebody else meanwhile; nothing was written: try again")
    return version


async def bring_up_to_date(store: Store, steps: Sequence[Step] = STEPS) -> bool:
    """Bring a fleet that an older espfleet made up to the newest layout; return whether there was anything to do.

    Several processes may do so at once: one of them does it, the others find it done. A step that fails leaves the
    fleet as it was.

    Raises:
        StoreError: If its rows cannot be read.
    """
    newest = 1 + len(steps)
    for _ in range(TRIES):
        before = await read(store)
        if before.schema >= newest:
            return False
        try:
            tables = migrated(before.tables, before.schema, steps)
        except (KeyError, TypeError, ValueError) as exc:
            raise StoreError(
                f"the fleet at {store.url} cannot be brought from schema {before.schema} to {newest}: {exc!r}; "
                "it is left as it is"
            ) from exc
        try:
            await replace(store, tables, before, newest)
        except ConflictError:
            continue
        logger.info("the fleet was brought from schema %d to %d", before.schema, newest)
        return True
    raise StoreError(f"the fleet at {store.url} changes too often to be brought up to date: stop its processes first")

"""How what an older espfleet stored becomes what this one stores: one step for each version of the layout.

A step takes all tables of the registry as the version before it wrote them and returns them as its own version does.
The same steps bring a running fleet and the file of a backup up to date. Everything else in Redis expires or is
written anew by itself, so it needs none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from espfleet.errors import InvalidError

#: Rows as plain values, by kind and key.
Tables = Mapping[str, Mapping[str, Mapping[str, Any]]]
Step = Callable[[Tables], Tables]

#: The first step leads from version 1 to version 2, and so on. Steps are added at the end and never changed.
STEPS: tuple[Step, ...] = ()
#: Version of the layout that this espfleet reads and writes.
SCHEMA = 1 + len(STEPS)


def migrated(tables: Tables, schema: int, steps: Sequence[Step] = STEPS) -> Tables:
    """Return tables of version ``schema`` as the newest version has them.

    Raises:
        InvalidError: If they are of a newer version than the steps lead to.
    """
    newest = 1 + len(steps)
    if not 1 <= schema <= newest:
        raise InvalidError(
            f"this was made by a newer espfleet (schema {schema}; this one knows {newest}): update this one",
            field="schema",
        )
    for step in steps[schema - 1 :]:
        tables = step(tables)
    return tables

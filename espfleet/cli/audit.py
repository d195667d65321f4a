"""``audit``: who did what, newest first."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.domain.names import check_whole
from espfleet.store import audit as log
from espfleet.store.audit import Entry

if TYPE_CHECKING:
    from rich.console import RenderableType


def audit(count: str) -> None:
    """List who did what."""
    wanted = check_whole(count, "count", 1, log.KEPT)
    found = with_store(functools.partial(log.latest, count=wanted))

    def page() -> RenderableType:
        rows = [
            (
                time.strftime("%d %b %H:%M:%S", time.localtime(entry.at_ms / 1_000)),
                f"{entry.actor.name or 'somebody'} ({entry.actor.door})",
                entry.actor.source,
                words(entry),
            )
            for entry in found
        ]
        return output.table(("when", "who", "from", "what"), rows, "Nobody has changed anything yet.", folded=("what",))

    output.show([row(entry) for entry in found], page)


def row(entry: Entry) -> dict[str, Any]:
    """Return an entry for programs."""
    return {
        "id": entry.entry_id,
        "at_ms": entry.at_ms,
        **entry.actor.to_dict(),
        "action": entry.action,
        "details": dict(entry.details),
    }


def words(entry: Entry) -> str:
    """Return what was done, for people."""
    details = entry.details
    if entry.action != "change":
        return f"{entry.action} " + ", ".join(f"{name} {value}" for name, value in details.items())
    told = [_row(one) for one in details.get("rows", ())]
    more = f" and {details['more']} more" if details.get("more") else ""
    return "; ".join(told) + more


def _row(one: dict[str, Any]) -> str:
    fields = [f"{name} {value}" for name, value in one.get("fields", {}).items()]
    fields += one.get("others", [])
    return f"{one['did']} {one['kind'].removesuffix('s')} {one['name']}" + (f" ({', '.join(fields)})" if fields else "")

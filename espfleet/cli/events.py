"""``events``: what happened, newest first."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.domain import outages
from espfleet.domain.names import check_whole
from espfleet.services import events as service
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.events import Event

if TYPE_CHECKING:
    from rich.console import RenderableType


def events(count: str, each: bool) -> None:
    """List what happened."""
    wanted = check_whole(count, "count", 1, service.MOST)
    found, names = with_store(functools.partial(_read, count=wanted, each=each))

    def page() -> RenderableType:
        rows = [
            (
                time.strftime("%d %b %H:%M:%S", time.localtime(event.at_ms / 1_000)),
                names.get(event.fields.get("device", ""), event.fields.get("device", "")),
                _words(event),
            )
            for event in found
        ]
        return output.table(("when", "device", "what"), rows, "Nothing has happened yet.", folded=("what",))

    output.show([_row(event, names) for event in found], page)


async def _read(store: Store, *, count: int, each: bool) -> tuple[list[Event], dict[str, str]]:
    found = await service.latest(store, count=count, each=each)
    current = await registry.latest(store)
    return found, {device.id: device.name for device in current.devices.values()}


def _row(event: Event, names: dict[str, str]) -> dict[str, Any]:
    row = {**event.fields, "id": event.event_id, "at_ms": event.at_ms, "kind": event.kind}
    if event.kind == outages.EVENT:
        row["sentence"] = outages.sentence(event.fields)
    elif event.fields.get("device") in names:
        row["device_name"] = names[event.fields["device"]]
    return row


def _words(event: Event) -> str:
    fields = event.fields
    if event.kind == outages.EVENT:
        return outages.sentence(fields)
    if event.kind == presence.EVENT:
        return f"{fields['presence']}: {fields['reason']}" if fields.get("reason") else str(fields["presence"])
    return " ".join(str(fields.get("event") or event.kind).split())

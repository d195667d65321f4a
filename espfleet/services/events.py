"""What happened, as people read it: failures that many devices share stand for the events of each."""

from __future__ import annotations

from collections.abc import Sequence

from espfleet.domain import outages
from espfleet.domain.devices import Presence
from espfleet.domain.outages import Going
from espfleet.domain.registry import Registry
from espfleet.store import events, presence, registry
from espfleet.store.client import Store
from espfleet.store.events import Event

#: Most that is read at once.
MOST = 10_000


async def latest(store: Store, *, count: int, each: bool = False) -> list[Event]:
    """Return the latest events, newest first.

    Args:
        store: Where the fleet is kept.
        count: How many at most.
        each: Also those of single devices that the event of an outage tells of.
    """
    if each:
        return (await events.latest(store, count))[::-1]
    # An outage may stand for very many.
    found = await events.latest(store, min(MOST, 2_000 + 10 * count))
    return folded(found, await registry.latest(store))[::-1][:count]


def folded(found: Sequence[Event], current: Registry) -> list[Event]:
    """Return events without those of single devices that the event of an outage tells of."""
    told = [event.fields for event in found if event.kind == outages.EVENT]
    if not told:
        return list(found)

    def room_of(device_id: str) -> str | None:
        device = current.devices.get(device_id)
        return device.room if device is not None else None

    def is_told(event: Event) -> bool:
        going = going_of(event)
        return going is not None and any(outages.covers(outage, going, room_of) for outage in told)

    return [event for event in found if not is_told(event)]


def going_of(event: Event) -> Going | None:
    """Return the device that went offline by an event, or ``None`` if none did."""
    fields = event.fields
    if event.kind != presence.EVENT or fields.get("presence") != Presence.OFFLINE:
        return None
    return Going(event.event_id, event.at_ms, fields["device"], fields.get("reason") or "", fields.get("gateway") or "")

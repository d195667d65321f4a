"""Roll call: which of all devices are there, without a word about each; for lists of thousands."""

from __future__ import annotations

from espfleet.domain.devices import Presence
from espfleet.store.client import Call, Store


async def those_there(store: Store) -> dict[str, Presence]:
    """Return by hardware id the devices that are live or late; all others are offline."""
    keys = store.keys
    calls = [Call("roll_call", [keys.due(part)], [keys.session(part, "")]) for part in range(store.shards)]
    found: dict[str, Presence] = {}
    for there, late in await store.run_all(calls):
        found.update(dict.fromkeys(there.decode().split(), Presence.LIVE))
        found.update(dict.fromkeys(late.decode().split(), Presence.LATE))
    return found

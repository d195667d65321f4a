"""What happened in the fleet: came, went, changed; the latest 10,000."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.store.client import Store

KEPT = 10_000
#: How long it is remembered that an event with a mark is recorded.
MARK_TTL_MS = 3_600_000
#: Events in one run of a script: each run keeps the server busy for about a millisecond.
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        event_id: Its place among all events.
        at_ms: When it was recorded, ms since the epoch by the clock of Redis.
        kind: What happened, such as ``presence``.
        fields: What else is known, by name.
    """

    event_id: str
    at_ms: int
    kind: str
    fields: Mapping[str, Any]


async def add(store: Store, kind: str, fields: Mapping[str, Any], mark: str = "") -> str | None:
    """Record an event and tell it to all who listen.

    Args:
        store: Where the fleet is kept.
        kind: What happened.
        fields: What else is known; plain values.
        mark: If given, of all events with this mark only the first is recorded.

    Returns:
        The event's id, or ``None`` if one with its mark is recorded already.
    """
    keys = store.keys
    event_id = await store.run(
        "add_event",
        [keys.events(), keys.recorded(mark)],
        [keys.events_channel(), KEPT, _text(kind, fields), mark, MARK_TTL_MS],
    )
    return event_id.decode() if event_id else None


async def add_all(store: Store, kind: str, many: Sequence[Mapping[str, Any]]) -> None:
    """Record events of one kind, in this order, and tell them in one message."""
    keys = store.keys
    for start in range(0, len(many), _AT_ONCE):
        texts = [_text(kind, fields) for fields in many[start : start + _AT_ONCE]]
        await store.run("add_events", [keys.events()], [keys.events_channel(), KEPT, *texts])


def _text(kind: str, fields: Mapping[str, Any]) -> str:
    # The kind goes last: a field of that name must not hide it.
    return json.dumps({**fields, "kind": kind}, separators=(",", ":"))


async def read(store: Store, since_id: str = "0", count: int = 100) -> list[Event]:
    """Return up to ``count`` events after the one with id ``since_id``, oldest first."""
    return [_event(*row) for row in await store.do("XRANGE", store.keys.events(), f"({since_id}", "+", "COUNT", count)]


async def latest(store: Store, count: int = 100) -> list[Event]:
    """Return the latest ``count`` events, oldest first."""
    found = await store.do("XREVRANGE", store.keys.events(), "+", "-", "COUNT", count)
    return [_event(*row) for row in reversed(found)]


def parse(event_id: str, text: str | bytes) -> Event:
    """Return the event that was stored as ``text``."""
    fields = json.loads(text)
    kind = fields.pop("kind")
    # Earlier versions did not write down when.
    at_ms = fields.pop("recorded_ms", None) or int(event_id.partition("-")[0])
    return Event(event_id, at_ms, kind, fields)


def _event(event_id: bytes, fields: Mapping[bytes, bytes]) -> Event:
    return parse(event_id.decode(), fields[b"e"])

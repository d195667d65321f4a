"""Who did what, when and from where: a stream of the latest changes that people and programs made.

What changes the registry is written in the same step as the change itself: there is never one without the other.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from espfleet.domain.actors import Actor
from espfleet.store.client import Store

KEPT = 10_000
#: An entry is cut where it would be longer.
MOST_BYTES = 8_192

_NOBODY = Actor("program")
_acting: ContextVar[Actor | None] = ContextVar("acting", default=None)


@dataclass(frozen=True, slots=True)
class Entry:
    """Something that somebody did.

    Attributes:
        entry_id: Its place among all.
        at_ms: When, ms since the epoch by the clock of Redis.
        actor: Who did it.
        action: What, such as ``change``.
        details: What else is known.
    """

    entry_id: str
    at_ms: int
    actor: Actor
    action: str
    details: Mapping[str, Any]


def act_as(actor: Actor) -> None:
    """Let what follows in this task, and in those that it starts, be done in somebody's name."""
    _acting.set(actor)


@contextlib.contextmanager
def acting_as(actor: Actor) -> Iterator[None]:
    """Let what is done meanwhile be done in somebody's name."""
    before = _acting.set(actor)
    try:
        yield
    finally:
        _acting.reset(before)


def written(action: str, details: Mapping[str, Any], at_ms: int) -> str:
    """Return an entry as it is stored: ``at_ms`` is when it happened, ms since the epoch by the clock of Redis."""
    actor = _acting.get() or _NOBODY
    entry = {**actor.to_dict(), "action": action, "details": details, "at_ms": at_ms}
    text = json.dumps(entry, separators=(",", ":"), default=str)
    return text if len(text) <= MOST_BYTES else json.dumps({**entry, "details": {"too_long": len(text)}})


async def note(store: Store, action: str, details: Mapping[str, Any]) -> None:
    """Write down what somebody does."""
    await store.do("XADD", store.keys.audit(), "MAXLEN", "~", KEPT, "*", "e", written(action, details, store.now_ms()))


async def latest(store: Store, count: int = 100) -> list[Entry]:
    """Return the latest ``count`` entries, newest first."""
    found = await store.do("XREVRANGE", store.keys.audit(), "+", "-", "COUNT", count)
    return [_entry(entry_id.decode(), fields[b"e"]) for entry_id, fields in found]


def _entry(entry_id: str, text: bytes) -> Entry:
    row = json.loads(text)
    actor = Actor(row["door"], row["who"], row["from"])
    # Earlier versions did not write it down; ids never go back, as the clock of Redis may.
    at_ms = row.get("at_ms") or int(entry_id.partition("-")[0])
    return Entry(entry_id, at_ms, actor, row["action"], row["details"])

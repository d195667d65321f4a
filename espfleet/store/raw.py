"""Redis as it is, for people who look into it by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from espfleet.store import audit
from espfleet.store.client import Store
from espfleet.store.faults import translated

#: More are not listed: nobody reads them.
MOST = 10_000


@dataclass(frozen=True, slots=True)
class Found:
    """A key of the fleet.

    Attributes:
        key: Its name without the prefix that all have.
        kind: Its type, as Redis calls it.
        size_bytes: Memory that it takes up.
        ttl_ms: When it goes by itself, in ms; ``None`` for never.
    """

    key: str
    kind: str
    size_bytes: int
    ttl_ms: int | None


async def keys(store: Store, pattern: str = "") -> list[Found]:
    """Return up to ``MOST`` keys of the fleet, by name; ``pattern`` may hold ``*``, and stands anywhere in the name."""
    prefix = store.keys.prefix
    # What stands in braces is part of the names, and * of Redis's own patterns goes on over it.
    asked = f"{prefix}*{pattern}*" if pattern else f"{prefix}*"
    names: list[bytes] = []
    with translated(store.url):
        async for name in store.redis.scan_iter(match=asked, count=1_000):
            names.append(name)
            if len(names) >= MOST:
                break
    found = []
    for name in sorted(set(names)):
        kind, size, ttl_ms = await store.do_all([("TYPE", name), ("MEMORY USAGE", name), ("PTTL", name)])
        if kind not in (b"none", "none"):
            told = kind.decode() if isinstance(kind, bytes) else str(kind)
            lasts_ms = int(ttl_ms) if int(ttl_ms) >= 0 else None
            found.append(Found(name.decode().removeprefix(prefix), told, int(size or 0), lasts_ms))
    return found


async def send(store: Store, words: Sequence[str]) -> Any:
    """Send one command and return its reply with texts instead of bytes; that it was sent is written down."""
    await audit.note(store, "redis", {"command": words[0][:32]})
    return _text(await store.do(*words))


def _text(reply: Any) -> Any:
    if isinstance(reply, bytes):
        return reply.decode(errors="backslashreplace")
    if isinstance(reply, dict):
        return {str(_text(name)): _text(value) for name, value in reply.items()}
    if isinstance(reply, list | tuple | set):
        return [_text(value) for value in reply]
    return reply

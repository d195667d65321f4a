"""AprilTags: the latest that each camera recognised, for a day, and a message to whoever listens."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from espfleet.store.client import Store

TTL_MS = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Tag:
    """What a camera recognised, and when: ms since the epoch."""

    device_id: str
    fields: Mapping[str, Any]
    at_ms: int


async def put(store: Store, tag: Tag) -> None:
    """Store what a camera recognised last, and tell it to all who listen."""
    text = json.dumps({"device": tag.device_id, "at_ms": tag.at_ms, "fields": tag.fields}, separators=(",", ":"))
    key = store.keys.tags()
    await store.do_all(
        [
            ("HSET", key, tag.device_id, text),
            ("PEXPIRE", key, TTL_MS),
            ("SPUBLISH", store.keys.tags_channel(), text),
        ]
    )


async def latest(store: Store) -> Tag | None:
    """Return what was recognised last by any camera, or ``None``."""
    found = [parse(text) for text in (await store.do("HGETALL", store.keys.tags())).values()]
    return max(found, key=lambda tag: tag.at_ms, default=None)


def parse(text: bytes) -> Tag:
    """Return what was stored as ``text``."""
    told = json.loads(text)
    return Tag(told["device"], told["fields"], told["at_ms"])

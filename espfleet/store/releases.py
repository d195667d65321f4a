"""Releases of the lamp's program, for an hour, and what became of each lamp's last update."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from espfleet.domain.releases import Release
from espfleet.domain.shards import shard_of
from espfleet.store.client import Store

#: An update takes a minute; a lamp that comes back later is offered the release anew.
RELEASE_TTL_MS = 3_600_000
PROGRESS_TTL_MS = 30 * 24 * 3_600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What became of a lamp's last update.

    Attributes:
        state: One of ``domain.releases.STATES``.
        version: What it was to become, or ``""`` before it was known.
        done_bytes, total_bytes: How much is written.
        error: Why it failed, or ``""``.
        slot: Where the lamp runs from: ``a``, ``b``, or ``""`` for what was put there by cable.
        bad: Version that it left again, or ``""``.
        why: Why it left that.
        at_ms: When it was told, ms since the epoch.
    """

    state: str
    version: str = ""
    done_bytes: int = 0
    total_bytes: int = 0
    error: str = ""
    slot: str = ""
    bad: str = ""
    why: str = ""
    at_ms: int = 0


async def put(store: Store, release: Release) -> None:
    """Keep a release for lamps to fetch; the one with the same content lives on."""
    key = store.keys.release(release.id)
    words = ("version", release.version, "manifest", release.manifest, "data", release.data)
    await store.do_all([("HSET", key, *words), ("PEXPIRE", key, RELEASE_TTL_MS)], atomic=True)


async def get(store: Store, release_id: str) -> Release | None:
    """Return a release, or ``None`` if there is none with this id any more."""
    version, manifest, data = await store.do("HMGET", store.keys.release(release_id), "version", "manifest", "data")
    return None if manifest is None else Release(version.decode(), manifest, data)


async def put_progress(store: Store, device_id: str, fields: Mapping[str, str | int]) -> None:
    """Store what is known anew of a lamp's update: fields of ``Progress`` by name; others stay."""
    key = store.keys.update(shard_of(device_id, store.shards), device_id)
    words = [word for pair in fields.items() for word in pair]
    await store.do_all([("HSET", key, *words), ("PEXPIRE", key, PROGRESS_TTL_MS)], atomic=True)


async def get_progress(store: Store, device_id: str) -> Progress | None:
    """Return what became of a lamp's last update, or ``None`` if none is known."""
    row = await store.do("HGETALL", store.keys.update(shard_of(device_id, store.shards), device_id))
    fields = {name.decode(): value.decode() for name, value in row.items()}
    if not fields:
        return None
    return Progress(
        state=fields.get("state", ""),
        version=fields.get("version", ""),
        done_bytes=int(fields.get("done_bytes", 0)),
        total_bytes=int(fields.get("total_bytes", 0)),
        error=fields.get("error", ""),
        slot=fields.get("slot", ""),
        bad=fields.get("bad", ""),
        why=fields.get("why", ""),
        at_ms=int(fields.get("at_ms", 0)),
    )

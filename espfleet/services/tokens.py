"""Tokens of people and programs: made once, shown once, kept as hashes."""

from __future__ import annotations

from dataclasses import replace

from espfleet.domain.names import nearest
from espfleet.domain.roles import Holder, Role, new_holder
from espfleet.domain.tokens import hash_token, matching_hash, new_token
from espfleet.errors import ConflictError, NotFoundError
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change

#: How long a token holds after another one of its name was made: a day.
KEEP_S = 86_400.0


async def holders(store: Store) -> list[Holder]:
    """Return everybody who has a token, by name."""
    rows = await registry.tokens(store)
    return sorted((Holder.from_dict(row) for row in rows.values()), key=lambda holder: holder.name)


async def add(store: Store, *, name: str, role: str, now_ms: int) -> str:
    """Make a token and return it; it is told this once.

    Raises:
        InvalidError: If name or role cannot be used.
        ConflictError: If there is a token of this name.
    """
    holder = new_holder(name, role, now_ms)
    if any(known.name == holder.name for known in await holders(store)):
        raise ConflictError(f"there is a token called {holder.name!r} already; remove it first")
    token = new_token()
    await registry.change(store, lambda _: [Change("tokens", hash_token(token), holder.to_dict())])
    return token


async def rotate(store: Store, *, name: str, now_ms: int, keep_s: float = KEEP_S) -> str:
    """Make another token of the same name and role, and return it; the one before holds for a while yet.

    Args:
        store: Where the fleet is kept.
        name: Of the token.
        now_ms: Current time, ms since the epoch.
        keep_s: How long the one before still holds, in s; with 0 it ends at once.

    Raises:
        NotFoundError: If there is none of this name.
    """
    token = new_token()
    found = await _named(store, name)
    newest = max(found.values(), key=lambda holder: holder.created_ms)
    end_ms = now_ms + round(keep_s * 1_000)
    fresh = replace(newest, created_ms=now_ms, until_ms=None)
    changes = [Change("tokens", hash_token(token), fresh.to_dict())]
    for key, holder in found.items():
        until_ms = end_ms if holder.until_ms is None else min(end_ms, holder.until_ms)
        ended = replace(holder, until_ms=until_ms)
        changes.append(Change("tokens", key, ended.to_dict() if ended.holds(now_ms) else None, about=name))
    await registry.change(store, lambda _: changes)
    return token


async def end_old(store: Store, *, now_ms: int) -> int:
    """Remove tokens that have ended, which closes what was opened with them; return how many."""
    rows = await registry.latest_tokens(store)
    ended = {key: row for key, row in rows.items() if not Holder.from_dict(row).holds(now_ms)}
    if ended:
        changes = [Change("tokens", key, None, about=str(row.get("name", ""))) for key, row in ended.items()]
        await registry.change(store, lambda _: changes)
    return len(ended)


async def remove(store: Store, *, name: str) -> Holder:
    """End a token.

    Raises:
        NotFoundError: If there is none of this name.
    """
    found = await _named(store, name)
    await registry.change(store, lambda _: [Change("tokens", key, None, about=name) for key in found])
    return next(iter(found.values()))


async def _named(store: Store, name: str) -> dict[str, Holder]:
    rows = await registry.tokens(store)
    found = {key: Holder.from_dict(row) for key, row in rows.items() if row.get("name") == name}
    if not found:
        raise NotFoundError("token", name, nearest(name, [str(row.get("name", "")) for row in rows.values()]))
    return found


async def holder_of(store: Store, *, token: str, now_ms: int) -> Holder | None:
    """Return who has this token, or ``None`` if nobody has, or it has ended."""
    rows = await registry.latest_tokens(store)
    found = matching_hash(token, rows)
    holder = Holder.from_dict(rows[found]) if found is not None else None
    return holder if holder is not None and holder.holds(now_ms) else None


async def any_admin(store: Store) -> bool:
    """Return whether somebody has an admin's token."""
    return any(holder.role is Role.ADMIN for holder in await holders(store))

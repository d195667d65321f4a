"""Tokens of people and programs: made once, shown once, kept as hashes."""

from __future__ import annotations

from espfleet.domain.names import nearest
from espfleet.domain.roles import Holder, Role, new_holder
from espfleet.domain.tokens import hash_token, matching_hash, new_token
from espfleet.errors import ConflictError, NotFoundError
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.registry import Change


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


async def remove(store: Store, *, name: str) -> Holder:
    """End a token.

    Raises:
        NotFoundError: If there is none of this name.
    """
    rows = await registry.tokens(store)
    found = {key: Holder.from_dict(row) for key, row in rows.items() if row.get("name") == name}
    if not found:
        raise NotFoundError("token", name, nearest(name, [str(row.get("name", "")) for row in rows.values()]))
    await registry.change(store, lambda _: [Change("tokens", key, None) for key in found])
    return next(iter(found.values()))


async def holder_of(store: Store, *, token: str) -> Holder | None:
    """Return who has this token, or ``None`` if nobody has."""
    rows = await registry.tokens(store)
    found = matching_hash(token, rows)
    return Holder.from_dict(rows[found]) if found is not None else None


async def any_admin(store: Store) -> bool:
    """Return whether somebody has an admin's token."""
    return any(holder.role is Role.ADMIN for holder in await holders(store))

"""Tokens of people and programs: rotated with two valid for a time, and never kept themselves."""

from __future__ import annotations

import pytest

from espfleet.domain.roles import Role
from espfleet.errors import NotFoundError
from espfleet.services import tokens
from espfleet.store.client import Store

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000


async def who(store: Store, token: str, now_ms: int = NOW_MS) -> str | None:
    holder = await tokens.holder_of(store, token=token, now_ms=now_ms)
    return holder.name if holder else None


async def test_after_a_rotation_both_hold_for_a_time_and_then_the_new_one_only(store: Store) -> None:
    old = await tokens.add(store, name="laptop", role="operator", now_ms=NOW_MS - HOUR_MS)
    new = await tokens.rotate(store, name="laptop", now_ms=NOW_MS, keep_s=3_600)
    assert [await who(store, one) for one in (old, new)] == ["laptop", "laptop"]
    later_ms = NOW_MS + HOUR_MS
    assert [await who(store, one, later_ms) for one in (old, new)] == [None, "laptop"]
    assert await tokens.end_old(store, now_ms=later_ms - 1) == 0
    assert await tokens.end_old(store, now_ms=later_ms) == 1
    [left] = await tokens.holders(store)
    assert (left.name, left.role, left.created_ms, left.until_ms) == ("laptop", Role.OPERATOR, NOW_MS, None)


async def test_a_rotation_may_end_the_old_one_at_once(store: Store) -> None:
    old = await tokens.add(store, name="laptop", role="viewer", now_ms=NOW_MS - 1)
    new = await tokens.rotate(store, name="laptop", now_ms=NOW_MS, keep_s=0)
    assert [await who(store, one) for one in (old, new)] == [None, "laptop"]


async def test_rotating_again_does_not_lengthen_the_life_of_older_ones(store: Store) -> None:
    first = await tokens.add(store, name="laptop", role="viewer", now_ms=NOW_MS)
    await tokens.rotate(store, name="laptop", now_ms=NOW_MS + 1, keep_s=60)
    await tokens.rotate(store, name="laptop", now_ms=NOW_MS + 2, keep_s=7_200)
    assert await who(store, first, NOW_MS + 61_000) is None


async def test_removing_ends_all_of_a_name(store: Store) -> None:
    old = await tokens.add(store, name="laptop", role="viewer", now_ms=NOW_MS)
    new = await tokens.rotate(store, name="laptop", now_ms=NOW_MS)
    await tokens.remove(store, name="laptop")
    assert [await who(store, one) for one in (old, new)] == [None, None]


async def test_who_has_no_token_cannot_rotate_it(store: Store) -> None:
    await tokens.add(store, name="laptop", role="viewer", now_ms=NOW_MS)
    with pytest.raises(NotFoundError, match="did you mean 'laptop'"):
        await tokens.rotate(store, name="labtop", now_ms=NOW_MS)


@pytest.mark.single
async def test_no_token_is_kept_anywhere_in_redis(store: Store) -> None:
    made = [await tokens.add(store, name="laptop", role="admin", now_ms=NOW_MS)]
    made.append(await tokens.rotate(store, name="laptop", now_ms=NOW_MS))
    everything = b""
    for key in await store.redis.keys("*"):
        everything += key + await store.redis.dump(key)
    assert b"laptop" in everything
    assert not [one for one in made if one.encode() in everything]

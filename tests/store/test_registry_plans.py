"""How the registry is changed by plans. On fakeredis: what matters here is our code, not the server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from fakeredis import FakeAsyncRedis

from espfleet.domain.devices import Device
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import new_room
from espfleet.errors import ConflictError, InvalidError
from espfleet.store import registry
from espfleet.store.client import Store
from espfleet.store.keys import Keys
from espfleet.store.registry import Change
from espfleet.store.urls import parse_url


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    """Return an empty fleet inside this process."""
    opened = Store(parse_url("redis://nowhere"), FakeAsyncRedis(), "test", Keys(), 8)
    yield opened
    await opened.aclose()


def room(name: str, brightness: int = 100) -> Change:
    return Change("rooms", name, new_room(name, brightness=brightness).to_dict())


async def test_a_plan_that_changes_nothing_writes_nothing(store: Store) -> None:
    before = await registry.change(store, lambda _: [room("hall")])
    assert await registry.change(store, lambda _: []) == before
    assert await registry.version(store) == before.version


async def test_a_plan_that_refuses_writes_nothing(store: Store) -> None:
    def refuse(_: Registry) -> Sequence[Change]:
        raise InvalidError("no")

    with pytest.raises(InvalidError):
        await registry.change(store, refuse)
    assert await registry.load(store) == Registry()


async def test_all_changes_of_a_plan_are_written_together(store: Store) -> None:
    await registry.change(store, lambda _: [room("hall"), room("porch")])
    after = await registry.change(store, lambda _: [room("hall", 50), Change("rooms", "porch", None), room("shed")])
    assert await registry.load(store) == after
    assert {name: one.brightness for name, one in after.rooms.items()} == {"hall": 50, "shed": 100}


async def test_a_plan_sees_the_fleet_as_it_is_when_others_were_faster(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[str]] = []
    apply = registry.apply

    async def apply_late(
        store: Store, changes: Sequence[Change], expected_version: int, before: Registry | None = None
    ) -> int:
        if len(seen) == 1:
            await apply(store, [room("porch")], expected_version)
        return await apply(store, changes, expected_version, before)

    def plan(before: Registry) -> Sequence[Change]:
        seen.append(sorted(before.rooms))
        return [room("hall")]

    monkeypatch.setattr(registry, "apply", apply_late)
    after = await registry.change(store, plan)
    assert seen == [[], ["porch"]]
    assert sorted(after.rooms) == ["hall", "porch"]


async def test_a_plan_that_is_always_too_late_gives_up(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> int:
        raise ConflictError("too late")

    monkeypatch.setattr(registry, "apply", refuse)
    monkeypatch.setattr(registry, "TRIES", 3)
    with pytest.raises(ConflictError, match="too many others change the fleet"):
        await registry.change(store, lambda _: [room("hall")])


async def test_versions_grow_also_after_the_server_was_emptied(store: Store) -> None:
    first = await registry.change(store, lambda _: [room("hall")])
    await store.redis.flushall()
    assert await registry.version(store) == 0
    assert (await registry.change(store, lambda _: [room("hall")])).version > first.version


async def test_rows_that_have_not_changed_are_not_read_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [Device(id=f"{number:012x}", name=f"lamp-{number}") for number in range(3)]
    await registry.change(store, lambda _: [Change("devices", one.id, one.to_dict()) for one in devices])
    before = await registry.load(store)
    await registry.change(
        store, lambda _: [Change("devices", devices[0].id, {**devices[0].to_dict(), "name": "porch"})]
    )
    after = await registry.load(store)
    assert after.devices[devices[0].id].name == "porch"
    assert after.devices[devices[1].id] is before.devices[devices[1].id]


async def test_tokens_are_kept_beside_the_registry(store: Store) -> None:
    assert await registry.tokens(store) == {}
    await registry.change(store, lambda _: [Change("tokens", "0f", {"role": "viewer"})])
    assert await registry.tokens(store) == {"0f": {"role": "viewer"}}


async def test_a_table_nobody_knows_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="tuple"):
        await registry.change(store, lambda _: [Change("zones", "hall", {})])

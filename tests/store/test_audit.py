"""The audit: who did what, in the same step as what was done, and without secrets."""

from __future__ import annotations

import json

import pytest

from espfleet.domain.actors import Actor
from espfleet.domain.targets import Target
from espfleet.errors import ConflictError
from espfleet.services import devices, rooms, telling, tokens
from espfleet.store import audit, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change

ANN = Actor("cli", "ann", "desk")
ID = "3c71bff93720"


async def told(store: Store) -> list[dict[str, object]]:
    """Return what was changed, oldest first: one row for each thing."""
    entries = reversed(await audit.latest(store))
    return [row for entry in entries for row in entry.details.get("rows", [])]


async def test_each_change_says_who_made_it_and_what_became_of_it(store: Store) -> None:
    with audit.acting_as(ANN):
        await devices.register(store, device_id=ID, name="porch", now_ms=1)
        await rooms.add(store, name="hall")
        await devices.move(store, name="porch", room="hall")
        await devices.unregister(store, name="porch")
    entries = await audit.latest(store)
    assert {entry.actor for entry in entries} == {ANN}
    assert entries[0].at_ms > 1_700_000_000_000
    rows = await told(store)
    assert {"kind": "devices", "name": "porch", "did": "changed", "fields": {"room": "hall"}} in rows
    assert rows[-1] == {"kind": "devices", "name": "porch", "did": "removed"}


async def test_it_tells_when_though_its_ids_stand_where_the_clock_was_ahead(store: Store) -> None:
    now_ms = await store.time_ms()
    old = '{"door":"cli","who":"ann","from":"desk","action":"change","details":{}}'
    await store.do("XADD", store.keys.audit(), f"{now_ms + 3_600_000}-0", "e", old)
    await rooms.add(store, name="hall")
    await audit.note(store, "token", {})
    *new, first = await audit.latest(store)
    assert first.at_ms == now_ms + 3_600_000
    assert len(new) == 2
    assert all(abs(entry.at_ms - now_ms) < 10_000 for entry in new)


async def test_what_is_not_done_is_not_told(store: Store) -> None:
    with pytest.raises(ConflictError):
        await registry.apply(store, [Change("rooms", "hall", {"name": "hall"})], expected_version=7)
    assert await audit.latest(store) == []


async def test_no_secret_and_no_hash_is_in_it(store: Store) -> None:
    done = await devices.register(store, device_id=ID, name="porch", now_ms=1)
    token = await tokens.add(store, name="laptop", role="admin", now_ms=1)
    await tokens.rotate(store, name="laptop", now_ms=2)
    await tokens.remove(store, name="laptop")
    target = Target.from_dict({"name": "shop", "address": "http://ann:very-secret@192.0.2.1/"})
    await registry.change(store, lambda _: [Change("targets", "shop", target.to_dict())])
    await telling.tell(
        store,
        name="porch",
        action="settings",
        arguments={"token": "very-secret", "networks": [{"ssid": "x", "password": "very-secret"}]},
        timeout_ms=100,
        now_ms=2,
    )
    text = json.dumps([entry.details for entry in await audit.latest(store)], default=str)
    for secret in ("very-secret", "sha256", token, str(done.token)):
        assert secret not in text
    assert "laptop" in text
    assert '"token": "\\u2026"' in text


async def test_telling_a_device_to_do_something_is_told(store: Store) -> None:
    await devices.register(store, device_id=ID, name="porch", now_ms=1)
    with audit.acting_as(Actor("web", "phone", "192.0.2.7")):
        await telling.tell(
            store, name="porch", action="gpio", arguments={"pin": 4, "value": 1}, timeout_ms=100, now_ms=2
        )
    entry = (await audit.latest(store))[0]
    assert entry.actor == Actor("web", "phone", "192.0.2.7")
    assert (entry.action, entry.details) == (
        "tell",
        {"device": "porch", "action": "gpio", "arguments": {"pin": 4, "value": 1}},
    )


async def test_a_change_of_many_things_is_told_in_short(store: Store) -> None:
    many = [Change("rooms", f"room-{number}", {"name": f"room-{number}"}) for number in range(500)]
    await registry.change(store, lambda _: many)
    [entry] = await audit.latest(store)
    assert entry.details["more"] == 500 - len(entry.details["rows"])


async def test_what_is_too_long_is_cut(store: Store) -> None:
    await audit.note(store, "tell", {"long": "x" * 20_000})
    [entry] = await audit.latest(store)
    assert entry.details.keys() == {"too_long"}


async def test_it_does_not_grow_without_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEPT", 100)
    for number in range(50):
        await registry.change(store, lambda _, n=number: [Change("rooms", f"r{n}", {"name": f"r{n}"})])  # type: ignore[misc]
    for _ in range(400):
        await audit.note(store, "tell", {})
    assert await store.redis.xlen(store.keys.audit()) <= 300

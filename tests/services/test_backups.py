"""A fleet comes back from its backup as it was: all of it, or nothing."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from espfleet.domain import backups as file
from espfleet.domain.migration import SCHEMA
from espfleet.errors import ConflictError, InvalidError
from espfleet.services import backups, devices, groups, rooms, targets, tokens
from espfleet.store import audit, registry, tables
from espfleet.store.client import Store

NOW_MS = 1_700_000_000_000


async def set_up(store: Store) -> tuple[str, str]:
    """Make a small fleet; return the token of its device and of a person."""
    await groups.add(store, name="wan")
    await targets.add(store, name="router", address="192.0.2.1", group="wan")
    await rooms.add(store, name="hall", group="wan")
    made = await devices.register(store, device_id="3c71bff93720", name="porch", room="hall", now_ms=NOW_MS)
    assert made.token is not None
    return made.token, await tokens.add(store, name="laptop", role="admin", now_ms=NOW_MS)


async def test_everything_that_was_set_up_comes_back(store: Store) -> None:
    _, person = await set_up(store)
    before = await registry.load(store)
    _, blob = await backups.make(store, now_ms=NOW_MS)
    await store.redis.flushall()
    await store.settle()
    done = await backups.restore(store, blob=blob)
    assert done.replaced == {}
    assert replace(await registry.load(store), version=before.version) == before
    holder = await tokens.holder_of(store, token=person, now_ms=1)
    assert holder is not None
    assert holder.name == "laptop"


async def test_no_token_can_be_read_from_a_backup(store: Store) -> None:
    device, person = await set_up(store)
    _, blob = await backups.make(store, now_ms=NOW_MS)
    text = gzip.decompress(blob).decode()
    assert device not in text
    assert person not in text


async def test_a_fleet_that_is_not_empty_is_only_replaced_by_force(store: Store) -> None:
    await set_up(store)
    _, blob = await backups.make(store, now_ms=NOW_MS)
    await groups.add(store, name="newer")
    with pytest.raises(ConflictError, match=r"not empty \(.*1 devices.*--force replaces all of that"):
        await backups.restore(store, blob=blob)
    assert "newer" in (await registry.load(store)).groups
    done = await backups.restore(store, blob=blob, force=True)
    assert done.replaced["groups"] == 2 + len({"default"} & set((await registry.load(store)).groups))
    assert "newer" not in (await registry.load(store)).groups


async def test_everybody_hears_of_a_restored_fleet(store: Store) -> None:
    await set_up(store)
    _, blob = await backups.make(store, now_ms=NOW_MS)
    before = await registry.version(store)
    await backups.restore(store, blob=blob, force=True)
    assert await registry.version(store) > before
    (entry,) = await audit.latest(store, 1)
    assert (entry.action, entry.details["replaced"]["devices"]) == ("restore", 1)
    assert audit.KEPT == tables.AUDITED


@pytest.mark.parametrize(
    ("what", "sentence"),
    [
        ({"rooms": {"hall": {"group": "wan"}}}, "holds a row that cannot be used"),
        ({"rooms": {"hall": {"name": "attic"}}}, "holds a row that cannot be used: 'hall' is the key of 'attic'"),
        ({"devices": {"3c71bff93720": {"id": "3c71bff93720", "name": "x", "kinds": ["toaster"]}}}, "toaster"),
        ({"toasters": {"a": {}}}, "holds 'toasters', which this espfleet does not know"),
    ],
)
async def test_a_row_that_means_nothing_leaves_the_fleet_as_it_was(
    store: Store, what: dict[str, dict[str, dict[str, object]]], sentence: str
) -> None:
    await set_up(store)
    before = await tables.read(store)
    blob = file.pack(file.Backup(schema=SCHEMA, made_ms=NOW_MS, made_by="1.0", tables=what))
    with pytest.raises(InvalidError, match=sentence):
        await backups.restore(store, blob=blob, force=True)
    assert await tables.read(store) == before


async def test_the_backup_of_a_newer_espfleet_is_refused(store: Store) -> None:
    blob = file.pack(file.Backup(schema=SCHEMA + 1, made_ms=NOW_MS, made_by="9.0", tables={}))
    with pytest.raises(InvalidError, match=f"made by a newer espfleet .schema {SCHEMA + 1}; this one knows {SCHEMA}"):
        await backups.restore(store, blob=blob, force=True)

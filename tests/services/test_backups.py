"""A fleet comes back from its backup as it was: all of it, or nothing."""

from __future__ import annotations

import gzip
from dataclasses import replace

import pytest

from espfleet.domain import backups as file
from espfleet.domain.devices import Dialect
from espfleet.domain.migration import SCHEMA
from espfleet.domain.sensors import new_sensor
from espfleet.errors import ConflictError, InvalidError
from espfleet.services import backups, device_tokens, devices, groups, jobs, rooms, simulated, targets, tokens
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


DEVICE = "3c71bff93720"
TOKEN = "sha256:" + "0" * 64
JOB = {"device_id": DEVICE, "name": "on", "pin": 2, "kind": "timer", "side": "below", "days": [0]}


@pytest.mark.parametrize(
    ("kind", "key", "field", "value"),
    [
        ("devices", DEVICE, "name", "\x1b[2J<script>"), ("devices", DEVICE, "name", None),
        ("devices", DEVICE, "address", "169.254.169.254"), ("devices", DEVICE, "address", 5),
        ("devices", DEVICE, "room", "a/b"), ("devices", DEVICE, "labels", ["\x1b"]),
        ("devices", DEVICE, "brightness", "50"), ("devices", DEVICE, "brightness", 1e9),
        ("devices", DEVICE, "token_hashes", ["x"]), ("devices", DEVICE, "token_hashes", [1]),
        ("devices", DEVICE, "board_token", "a\r\nX: y"), ("devices", DEVICE, "registered_ms", "x"),
        ("rooms", "hall", "brightness", 101), ("rooms", "hall", "group", 5),
        ("groups", "wan", "targets", [1]), ("groups", "wan", "preset", "x"), ("groups", "wan", "quorum", "many"),
        ("groups", "wan", "overrides", {"loss_red_percent": -1}), ("groups", "wan", "paused", "no"),
        ("targets", "router", "address", "file:///etc/passwd"), ("targets", "router", "interval_ms", -1),
        ("targets", "router", "interval_ms", "1000"), ("targets", "router", "timeout_ms", 0),
        ("jobs", f"{DEVICE}/on", "pin", "2"), ("jobs", f"{DEVICE}/on", "zone", "../x"),
        ("jobs", f"{DEVICE}/on", "source", 5), ("jobs", f"{DEVICE}/on", "paused", 1.5),
        ("sensors", f"{DEVICE}/air", "pin", 99), ("sensors", f"{DEVICE}/air", "interval_s", 0),
        ("tokens", TOKEN, "name", "\x1b"), ("tokens", TOKEN, "role", "god"), ("tokens", TOKEN, "until_ms", "never"),
    ],
)  # fmt: skip
async def test_a_row_that_nobody_could_have_set_up_leaves_the_fleet_as_it_was(
    store: Store, kind: str, key: str, field: str, value: object
) -> None:
    rows: dict[str, dict[str, dict[str, object]]] = {
        "devices": {DEVICE: {"id": DEVICE, "name": "porch", "room": "hall"}},
        "rooms": {"hall": {"name": "hall", "group": "wan"}},
        "groups": {"wan": {"name": "wan", "targets": ["router"]}},
        "targets": {"router": {"name": "router", "address": "192.0.2.1"}},
        "jobs": {f"{DEVICE}/on": dict(JOB)},
        "sensors": {f"{DEVICE}/air": {"device_id": DEVICE, "name": "air", "kind": "dht22", "pin": 4}},
        "tokens": {TOKEN: {"name": "boss", "role": "admin", "created_ms": 1}},
    }
    wrong = {**rows, kind: {key: {**rows[kind][key], field: value}}}
    for tables_, refused in ((wrong, True), (rows, False)):
        blob = file.pack(file.Backup(schema=SCHEMA, made_ms=NOW_MS, made_by="1.0", tables=tables_))
        before = await tables.read(store)
        if refused:
            with pytest.raises(InvalidError, match="holds a row that cannot be used"):
                await backups.restore(store, blob=blob, force=True)
            assert await tables.read(store) == before
        else:
            await backups.restore(store, blob=blob, force=True)


async def test_all_that_can_be_set_up_comes_back(store: Store) -> None:
    await simulated.add_demo(store)
    await set_up(store)
    await tokens.rotate(store, name="laptop", now_ms=NOW_MS)
    await device_tokens.add(store, name="porch")
    await devices.set_board_token(store, name="porch", token="s3cret-of-a-board")
    await devices.show_group(store, name="porch", group="wan")
    await devices.set_brightness(store, name="porch", percent=7)
    await devices.register(store, device_id="0c0000000001", name="cam", now_ms=1, dialect=Dialect.HUB, address="::1")
    await groups.edit(store, name="wan", thresholds={"latency_orange_ms": 30, "jump_orange": "none",
                                                     "jump_red": "none"})  # fmt: skip
    await groups.pause(store, name="wan", paused=True)
    await targets.add(store, name="site", address="tcp://router.lan:443", group="wan", labels=["far"])
    timer = {"device": "porch", "start": "18:30", "how_long": "4.5", "days": "mon-fri"}
    await jobs.add_timer(store, name="lights", pin=2, zone="Europe/Berlin", **timer)
    await jobs.add_threshold(
        store, name="heat", pin=3, source="key:x", border=1.5, hysteresis=0, side="above", least_ms=5, unit="K", **timer
    )
    await jobs.pause(store, device="porch", name="heat", yes=True)
    await jobs.add_sensor(store, new_sensor(device_id="3c71bff93720", name="air", kind="adc", pin=4, power_pin=5))
    before = await tables.read(store)
    assert all(before.tables.values())
    _, blob = await backups.make(store, now_ms=NOW_MS)
    await backups.restore(store, blob=blob, force=True)
    assert (await tables.read(store)).tables == before.tables


async def test_the_backup_of_a_newer_espfleet_is_refused(store: Store) -> None:
    blob = file.pack(file.Backup(schema=SCHEMA + 1, made_ms=NOW_MS, made_by="9.0", tables={}))
    with pytest.raises(InvalidError, match=f"made by a newer espfleet .schema {SCHEMA + 1}; this one knows {SCHEMA}"):
        await backups.restore(store, blob=blob, force=True)

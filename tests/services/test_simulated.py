"""The demo and simulated lamps can be added beside real things, and removed without touching them."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from espfleet.domain.devices import Device
from espfleet.domain.names import SIMULATED
from espfleet.errors import ConflictError
from espfleet.services import devices, groups, rooms, simulated, targets
from espfleet.store import registry
from espfleet.store.client import Store

LAMP = Device(id="020000000001", name="sim-1", room="demo-office", labels=(SIMULATED,))


async def test_an_empty_fleet_is_told_from_one_in_use(store: Store) -> None:
    assert await simulated.is_empty(store)
    await targets.add(store, name="router", address="127.0.0.1")
    assert not await simulated.is_empty(store)


async def test_the_demo_is_added_once_and_all_of_it_is_marked(store: Store) -> None:
    await simulated.add_demo(store)
    await simulated.enlist(store, [LAMP])
    before = await registry.load(store)
    await simulated.add_demo(store)
    assert await registry.load(store) == before
    everything = [*before.devices.values(), *before.rooms.values(), *before.groups.values(), *before.targets.values()]
    assert all(SIMULATED in thing.labels for thing in everything)
    assert all(target.address.startswith(("127.", "sim://")) for target in before.targets.values())


async def test_removing_what_is_simulated_leaves_the_rest(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    before = await registry.load(store)
    await simulated.add_demo(store)
    await simulated.enlist(store, [LAMP])
    gone = await simulated.remove(store)
    after = await registry.load(store)
    assert (gone.devices, gone.rooms, gone.groups, gone.targets) == (1, 2, 2, 4)
    assert (after.devices, after.rooms, after.groups, after.targets) == (
        before.devices,
        before.rooms,
        before.groups,
        before.targets,
    )


async def test_a_simulated_room_with_a_real_device_stays_with_its_group(store: Store) -> None:
    await simulated.add_demo(store)
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1, room="demo-office")
    await simulated.remove(store)
    after = await registry.load(store)
    assert list(after.rooms) == ["demo-office"]
    assert list(after.groups) == ["demo-internet"]


async def test_a_real_group_loses_only_its_simulated_targets(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    await simulated.add_demo(store)
    await groups.include(store, name="default", targets=["demo-calm"])
    await simulated.remove(store)
    assert (await registry.load(store)).groups["default"].targets == ("router",)


async def test_the_demo_takes_no_name_of_the_users(store: Store) -> None:
    await rooms.add(store, name="demo-office")
    with pytest.raises(ConflictError, match="the demo needs the name 'demo-office'"):
        await simulated.add_demo(store)
    assert not (await registry.load(store)).targets


async def test_a_simulated_lamp_takes_no_name_of_a_real_one(store: Store) -> None:
    await devices.register(store, device_id="3c71bff93720", name="sim-1", now_ms=1)
    with pytest.raises(ConflictError, match="another device is already called 'sim-1'"):
        await simulated.enlist(store, [Device(id=LAMP.id, name="sim-1", labels=(SIMULATED,))])


async def test_thousands_of_simulated_lamps_come_move_and_go_in_pieces(store: Store) -> None:
    many = [
        Device(id=f"02{number:010x}", name=f"sim-{number:05d}", room="sim-room-1", labels=(SIMULATED,))
        for number in range(registry.ROWS_A_PIECE + 1)
    ]
    ids = [device.id for device in many]
    await targets.add(store, name="router", address="127.0.0.1")
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    before = await registry.load(store)
    made = await simulated.ensure_rooms(store, ["sim-room-1", "sim-room-2", "default"])
    assert made == ["sim-room-1", "sim-room-2"]
    await simulated.enlist(store, many)
    await simulated.move(store, ids[::2], "sim-room-2")
    after = await registry.load(store)
    assert [after.devices[device_id].room for device_id in ids[:3]] == ["sim-room-2", "sim-room-1", "sim-room-2"]
    assert len(after.devices) == len(many) + 1
    assert after.rooms["sim-room-2"].group == "default"
    await simulated.dismiss(store, ids, made)
    left = await registry.load(store)
    assert (left.devices, left.rooms, left.groups) == (before.devices, before.rooms, before.groups)


async def test_a_room_made_for_simulated_lamps_stays_while_somebody_lives_in_it(store: Store) -> None:
    made = await simulated.ensure_rooms(store, ["sim-room-1"])
    await simulated.enlist(store, [replace(LAMP, room="sim-room-1")])
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1, room="sim-room-1")
    await simulated.dismiss(store, [LAMP.id], made)
    assert list((await registry.load(store)).rooms) == ["sim-room-1"]


async def test_a_change_in_pieces_goes_on_where_somebody_else_came_between(store: Store) -> None:
    async def rename_rooms() -> None:
        for number in range(3):
            await rooms.add(store, name=f"hall-{number}")

    many = [Device(id=f"02{number:010x}", name=f"sim-{number:05d}", labels=(SIMULATED,)) for number in range(3_000)]
    await asyncio.gather(simulated.enlist(store, many), rename_rooms())
    after = await registry.load(store)
    assert len(after.devices) == 3_000
    assert set(after.rooms) >= {"hall-0", "hall-1", "hall-2"}

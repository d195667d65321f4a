"""Devices are registered once, found by name or id, and told apart by their hardware id alone."""

from __future__ import annotations

import asyncio

import pytest

from espfleet.domain.devices import Dialect, Presence, Reason
from espfleet.domain.states import State
from espfleet.domain.tokens import hash_token
from espfleet.errors import InvalidError, NameTakenError, NotFoundError
from espfleet.services import devices, groups, rooms, targets
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.presence import Session

PORCH, ATTIC = "3c71bff93720", "3c71bff93721"


async def test_a_new_device_goes_to_the_default_room_and_gets_a_token(store: Store) -> None:
    done = await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000, address="192.0.2.7")
    assert done.new
    assert done.token is not None
    assert done.device.token_hashes == (hash_token(done.token),)
    current = await registry.load(store)
    assert current.group_of(current.device("porch")) == "default"
    assert current.rooms["default"].group == "default"


async def test_registering_twice_changes_nothing_and_tells_no_token(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000, address="192.0.2.7")
    before = await registry.load(store)
    again = await devices.register(store, device_id=PORCH, name="porch", now_ms=2_000, address="192.0.2.7")
    assert (again.new, again.token) == (False, None)
    assert (await registry.load(store)) == before


async def test_a_device_keeps_room_and_dialect_when_only_its_address_changes(store: Store) -> None:
    await rooms.add(store, name="attic")
    await devices.register(
        store, device_id=PORCH, name="porch", now_ms=1_000, room="attic", dialect=Dialect.PINGLAMP, address="192.0.2.7"
    )
    moved = await devices.register(store, device_id=PORCH, name="porch", now_ms=2_000, address="192.0.2.8")
    assert (moved.device.room, moved.device.dialect, moved.device.address) == ("attic", Dialect.PINGLAMP, "192.0.2.8")


async def test_a_new_token_ends_the_old_one(store: Store) -> None:
    first = await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    second = await devices.register(store, device_id=PORCH, name="porch", now_ms=2_000, token_wanted=True)
    assert second.token not in (None, first.token)
    assert second.device.token_hashes == (hash_token(str(second.token)),)


async def test_two_devices_cannot_share_a_name(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    with pytest.raises(NameTakenError, match="already called 'porch'; 'porch-2' is free"):
        await devices.register(store, device_id=ATTIC, name="porch", now_ms=2_000)


async def test_of_many_registrations_of_one_name_exactly_one_wins(store: Store) -> None:
    ids = [f"3c71bff9{number:04x}" for number in range(40)]
    answers = await asyncio.gather(
        *(devices.register(store, device_id=one, name="porch", now_ms=1_000) for one in ids), return_exceptions=True
    )
    losers = [answer for answer in answers if isinstance(answer, NameTakenError)]
    assert len(losers) == len(ids) - 1
    assert len((await registry.load(store)).devices) == 1


@pytest.mark.parametrize(
    ("device_id", "name", "address", "field"),
    [
        ("3c71", "porch", "", "id"),
        (PORCH, "", "", "name"),
        (PORCH, "x" * 10_000, "", "name"),
        (PORCH, "por\x1bch", "", "name"),
        (PORCH, "porch", "localhost", "address"),
        (PORCH, "porch", "192.0.2.7:0", "address"),
        (PORCH, "porch", "192.0.2.300", "address"),
    ],
)
async def test_bad_values_are_refused_by_name(
    store: Store, device_id: str, name: str, address: str, field: str
) -> None:
    with pytest.raises(InvalidError) as caught:
        await devices.register(store, device_id=device_id, name=name, now_ms=1_000, address=address)
    assert caught.value.field in (field, "port")
    assert len(str(caught.value)) < 300
    assert not (await registry.load(store)).devices


async def test_a_room_must_exist_before_a_device_moves_in(store: Store) -> None:
    with pytest.raises(NotFoundError, match="no room is called 'atic'"):
        await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000, room="atic")
    assert not (await registry.load(store)).devices


async def test_a_device_is_found_by_name_and_by_id_and_others_are_suggested(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    for word in ("porch", PORCH, "3C:71:BF:F9:37:20"):
        assert (await devices.view(store, name=word, now_ms=2_000)).device.id == PORCH
    with pytest.raises(NotFoundError, match="did you mean 'porch'"):
        await devices.view(store, name="prch", now_ms=2_000)


async def test_a_device_never_seen_is_offline_and_its_level_unknown(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    view = await devices.view(store, name="porch", now_ms=2_000)
    assert (view.presence, view.reason, view.seen_ms) == (Presence.OFFLINE, Reason.NEVER, None)
    assert (view.level.state, view.level.reason) == (State.UNKNOWN, "no leveler is running")
    assert not await devices.is_online(store, name="porch")


async def test_a_connected_device_is_live(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    await presence.came(store, PORCH, Session(session_id="s1", gateway="g1", watchdog_ms=3_000))
    view = await devices.view(store, name="porch", now_ms=2_000)
    assert (view.presence, view.reason, view.gateway) == (Presence.LIVE, None, "g1")
    assert await devices.is_online(store, name="porch")


async def test_an_unregistered_device_leaves_nothing_behind(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    await presence.came(store, PORCH, Session(session_id="s1", gateway="g1", watchdog_ms=3_000))
    await devices.unregister(store, name="porch")
    assert not [key async for key in store.redis.scan_iter(match=f"*{PORCH}*")]
    with pytest.raises(NotFoundError):
        await devices.unregister(store, name="porch")


async def test_a_device_shows_its_own_group_before_its_rooms(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    await groups.add(store, name="internet")
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    await devices.show_group(store, name="porch", group="internet")
    assert (await devices.view(store, name="porch", now_ms=2_000)).group == "internet"
    await devices.show_group(store, name="porch", group=None)
    assert (await devices.view(store, name="porch", now_ms=2_000)).group == "default"


async def test_a_name_can_be_changed_but_not_to_a_taken_one(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    await devices.register(store, device_id=ATTIC, name="attic", now_ms=1_000)
    with pytest.raises(NameTakenError, match="'attic-2' is free"):
        await devices.rename(store, name="porch", new_name="attic")
    assert (await devices.rename(store, name="porch", new_name="garden")).id == PORCH


async def test_a_device_is_of_one_or_more_kinds(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    assert (await devices.set_kinds(store, name="porch", kinds=["camera", "lamp", "camera"])).kinds == (
        "camera",
        "lamp",
    )
    for bad in ([], ["toaster"], [""]):
        with pytest.raises(InvalidError, match="lamp, board, camera"):
            await devices.set_kinds(store, name="porch", kinds=bad)


async def test_brightness_is_a_percentage_or_the_rooms(store: Store) -> None:
    await devices.register(store, device_id=PORCH, name="porch", now_ms=1_000)
    assert (await devices.set_brightness(store, name="porch", percent="40")).brightness == 40
    assert (await devices.set_brightness(store, name="porch", percent=None)).brightness is None
    for bad in ("101", "-1", "nan", "1.5", "much"):
        with pytest.raises(InvalidError, match="brightness must be"):
            await devices.set_brightness(store, name="porch", percent=bad)

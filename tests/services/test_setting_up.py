"""Targets, groups and rooms are made, changed and removed without ever contradicting each other."""

from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.levels import LevelBook
from espfleet.domain.states import State
from espfleet.errors import ConflictError, InvalidError, NotFoundError
from espfleet.services import devices, groups, rooms, targets
from espfleet.store import levels, registry
from espfleet.store.client import Store


async def test_a_first_target_makes_the_default_group(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    current = await registry.load(store)
    assert current.groups["default"].targets == ("router",)


async def test_adding_a_target_twice_changes_nothing(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    before = await registry.load(store)
    await targets.add(store, name="router", address="127.0.0.1")
    assert await registry.load(store) == before


async def test_what_is_known_of_a_target_is_as_old_as_it_is(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    book = LevelBook()
    book.configure({"router": (await registry.load(store)).targets["router"]}, {})
    now_ms = await store.time_ms()
    book.add(book.rows(["router"]), np.array([1.0], np.float32), np.array([now_ms - 5_000]))
    book.evaluate(now_ms - 2_000)
    await levels.put_snapshots(store, {0: book.summary()})
    # The leveler has said nothing for two seconds.
    summary = (await targets.view(store, name="router")).summary
    assert summary is not None
    assert summary.age_ms is not None
    assert 5_000 <= summary.age_ms < 65_000


async def test_a_target_may_be_in_several_groups(store: Store) -> None:
    await groups.add(store, name="lan")
    await targets.add(store, name="router", address="127.0.0.1")
    await targets.add(store, name="router", address="127.0.0.1", group="lan")
    assert (await registry.load(store)).groups_of_target["router"] == ("default", "lan")


async def test_another_address_under_a_taken_name_is_refused(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    with pytest.raises(ConflictError, match=r"there already, with 127\.0\.0\.1 every 1000 ms"):
        await targets.add(store, name="router", address="127.0.0.2")


@pytest.mark.parametrize("interval", ["0", "nan", "inf", "-1", "9", "3600001", "soon", "1.5"])
async def test_an_impossible_interval_is_refused(store: Store, interval: str) -> None:
    with pytest.raises(InvalidError, match="interval_ms must be"):
        await targets.add(store, name="router", address="127.0.0.1", interval_ms=interval)


async def test_a_target_is_edited_and_removed_with_its_places_in_groups(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    assert (await targets.edit(store, name="router", interval_ms="500")).interval_ms == 500
    assert (await targets.edit(store, name="router", address="127.0.0.9")).interval_ms == 500
    await targets.remove(store, name="router")
    current = await registry.load(store)
    assert not current.targets
    assert current.groups["default"].targets == ()


async def test_a_group_must_not_name_targets_that_do_not_exist(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    with pytest.raises(NotFoundError, match="did you mean 'router'"):
        await groups.add(store, name="lan", targets=["ruoter"])
    with pytest.raises(NotFoundError):
        await groups.include(store, name="default", targets=["ruoter"])
    with pytest.raises(InvalidError, match="'ruoter' is not in group 'default'"):
        await groups.exclude(store, name="default", targets=["ruoter"])


async def test_thresholds_are_set_and_given_back_to_the_preset(store: Store) -> None:
    await groups.add(store, name="internet")
    group = await groups.edit(
        store, name="internet", thresholds={"latency_orange_ms": "80", "jump_red": "none", "jump_orange": "none"}
    )
    assert group.thresholds.latency_orange_ms == 80
    assert group.thresholds.jump_red is None
    group = await groups.edit(store, name="internet", thresholds={"latency_orange_ms": "preset"})
    assert group.thresholds.latency_orange_ms == 50
    group = await groups.edit(store, name="internet", preset="lan")
    assert group.overrides == ()


@pytest.mark.parametrize(
    ("thresholds", "message"),
    [
        ({"latency_ornage_ms": "1"}, "did you mean 'latency_orange_ms'"),
        ({"latency_orange_ms": "200"}, r"latency_orange_ms \(200\) must be below latency_red_ms \(150\)"),
        ({"latency_orange_ms": "none"}, "must be a number"),
        ({"jitter_red_ms": "none"}, "set both jitter_orange_ms and jitter_red_ms, or neither"),
        ({"loss_red_percent": "101"}, "loss_red_percent must be a number from 0.01 to 100 percent"),
    ],
)
async def test_thresholds_that_make_no_sense_are_refused(
    store: Store, thresholds: dict[str, object], message: str
) -> None:
    await groups.add(store, name="internet")
    with pytest.raises(InvalidError, match=message):
        await groups.edit(store, name="internet", thresholds=thresholds)


async def test_a_group_in_use_cannot_be_removed(store: Store) -> None:
    await groups.add(store, name="internet")
    await rooms.add(store, name="office", group="internet")
    await rooms.add(store, name="attic", group="internet")
    with pytest.raises(ConflictError, match=r"is shown by room .(office|attic). and 1 more"):
        await groups.remove(store, name="internet")
    for room in ("office", "attic"):
        await rooms.remove(store, name=room)
    await groups.remove(store, name="internet")
    assert not (await registry.load(store)).groups


async def test_a_room_with_devices_cannot_be_removed(store: Store) -> None:
    await rooms.add(store, name="office")
    await devices.register(store, device_id="3c71bff93720", name="desk", now_ms=1, room="office")
    with pytest.raises(ConflictError, match="room 'office' is not empty: desk"):
        await rooms.remove(store, name="office")


async def test_a_room_watches_an_existing_group(store: Store) -> None:
    await rooms.add(store, name="office")
    assert (await rooms.view(store, name="office", now_ms=1)).level.reason == "the room watches no group"
    with pytest.raises(NotFoundError):
        await rooms.watch_group(store, name="office", group="internet")
    await groups.add(store, name="internet")
    await rooms.watch_group(store, name="office", group="internet")
    assert (await rooms.view(store, name="office", now_ms=1)).level.state is State.UNKNOWN


async def test_pausing_a_group_is_stored(store: Store) -> None:
    await groups.add(store, name="internet")
    assert (await groups.pause(store, name="internet", paused=True)).paused
    assert not (await groups.pause(store, name="internet", paused=False)).paused

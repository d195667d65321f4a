"""The registry: what is set up, and how it hangs together."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from espfleet.domain.devices import Device, new_device
from espfleet.domain.groups import new_group
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import new_room
from espfleet.domain.shards import shard_of
from espfleet.domain.targets import new_target
from espfleet.errors import NotFoundError

PORCH, ATTIC = "3c71bff93720", "3c71bff93721"


def registry(*devices: Device) -> Registry:
    everything = devices or (new_device(device_id=PORCH, name="porch", room="hall"),)
    return Registry(
        version=3,
        devices={device.id: device for device in everything},
        rooms={"hall": new_room("hall", "uplink", 60), "dark": new_room("dark")},
        groups={"uplink": new_group("uplink", ["isp", "dns"]), "lan": new_group("lan", ["switch", "dns"])},
        targets={name: new_target(name, "192.0.2.1") for name in ("isp", "dns", "switch", "lone")},
    )


@pytest.mark.parametrize("name", ["porch", PORCH, "3C:71:BF:F9:37:20"])
def test_a_device_is_found_by_name_and_by_id(name: str) -> None:
    assert registry().device(name).id == PORCH


def test_a_name_that_looks_like_an_id_is_a_name_first() -> None:
    found = registry(new_device(device_id=PORCH, name=ATTIC), new_device(device_id=ATTIC, name="attic"))
    assert found.device(ATTIC).id == PORCH


@pytest.mark.parametrize(
    ("look", "says"),
    [
        (lambda found: found.device("porhc"), "no device is called 'porhc'; did you mean 'porch'?"),
        (lambda found: found.device("aabbccddeeff"), "no device is called 'aabbccddeeff'"),
        (lambda found: found.room("hal"), "no room is called 'hal'; did you mean 'hall'?"),
        (lambda found: found.group("uplnk"), "no group is called 'uplnk'; did you mean 'uplink'?"),
        (lambda found: found.target("zzzz"), "no target is called 'zzzz'"),
    ],
)
def test_what_is_not_there_is_said_with_what_looks_like_it(look: Callable[[Registry], object], says: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        look(registry())
    assert str(refused.value) == says


def test_what_is_there_is_found() -> None:
    found = registry()
    assert (found.room("hall").name, found.group("lan").name, found.target("dns").name) == ("hall", "lan", "dns")


@pytest.mark.parametrize(
    ("room", "group", "shows"),
    [("hall", None, "uplink"), ("hall", "lan", "lan"), ("dark", None, None), (None, None, None), ("gone", None, None)],
)
def test_a_device_shows_its_own_group_or_its_rooms(room: str | None, group: str | None, shows: str | None) -> None:
    assert registry().group_of(new_device(device_id=PORCH, name="porch", room=room, group=group)) == shows


@pytest.mark.parametrize(
    ("room", "brightness", "percent"), [("hall", None, 60), ("hall", 0, 0), ("dark", None, 100), (None, None, 100)]
)
def test_a_device_has_its_own_brightness_or_its_rooms(room: str | None, brightness: int | None, percent: int) -> None:
    device = new_device(device_id=PORCH, name="porch", room=room, brightness=brightness)
    assert registry().brightness_of(device) == percent


def test_groups_of_each_target_are_known() -> None:
    assert registry().groups_of_target == {"isp": ("uplink",), "dns": ("lan", "uplink"), "switch": ("lan",)}


def test_samples_go_to_the_shards_of_the_groups_or_the_targets_own() -> None:
    found = registry()
    assert found.shards_of_target("isp", 8) == (shard_of("uplink", 8),)
    assert set(found.shards_of_target("dns", 8)) == {shard_of("uplink", 8), shard_of("lan", 8)}
    assert found.shards_of_target("lone", 8) == (shard_of("lone", 8),)


def test_an_empty_registry_has_nothing() -> None:
    empty = Registry()
    assert (empty.device_ids, empty.groups_of_target) == ({}, {})
    with pytest.raises(NotFoundError):
        empty.device("porch")

"""What many devices share is one failure; what they do not share is none."""

from __future__ import annotations

import json

import pytest

from espfleet.domain.devices import Device
from espfleet.domain.outages import Going, Scope, covers, outages, sentence
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import Room

ROOMS = {"hall": 6, "attic": 4, "cellar": 2, "shed": 2}
DEVICES = [
    Device(id=f"{number:012x}", name=f"{room}-{index}", room=room)
    for number, (room, index) in enumerate((room, index) for room, size in ROOMS.items() for index in range(size))
]
FLEET = Registry(
    devices={device.id: device for device in DEVICES}, rooms={name: Room(name=name, group=None) for name in ROOMS}
)


def gone(room: str, count: int, *, at_ms: int = 1_000, reason: str = "silent", gateway: str = "g1") -> list[Going]:
    chosen = [device for device in DEVICES if device.room == room][:count]
    return [
        Going(f"{at_ms + 10 * index}-{index}", at_ms + 10 * index, device.id, reason, gateway)
        for index, device in enumerate(chosen)
    ]


def test_a_room_whose_lamps_go_at_one_moment_is_one_outage() -> None:
    (found,) = outages(gone("hall", 5), FLEET)
    assert (found.scope, found.name, found.count, found.of) == (Scope.ROOM, "hall", 5, 6)
    assert found.devices == ("hall-0", "hall-1", "hall-2", "hall-3", "hall-4")
    assert (found.first_id, found.last_id) == ("1000-0", "1040-4")
    assert sentence(found.fields()) == "5 of 6 devices of room hall went offline at one moment: silent"


def test_lamps_that_are_few_in_their_room_are_no_outage() -> None:
    assert outages(gone("hall", 2), FLEET) == []
    assert outages(gone("hall", 1) + gone("attic", 1), FLEET) == []


def test_a_gateway_that_died_is_the_reason_and_not_the_rooms() -> None:
    goings = gone("hall", 6, reason="gateway gone") + gone("attic", 1, reason="gateway gone")
    (found,) = outages(goings, FLEET)
    assert (found.scope, found.name, found.count) == (Scope.GATEWAY, "g1", 7)
    assert sentence(found.fields()) == "7 devices lost their gateway g1 at one moment"


def test_two_rooms_are_two_outages_and_more_are_one_of_the_fleet() -> None:
    assert [found.name for found in outages(gone("attic", 4) + gone("hall", 6), FLEET)] == ["attic", "hall"]
    (found,) = outages(gone("hall", 6) + gone("attic", 4) + gone("cellar", 2), FLEET)
    assert (found.scope, found.rooms, found.count, found.of) == (Scope.FLEET, ("attic", "cellar", "hall"), 12, 12)
    assert "12 of 12 devices of the rooms attic, cellar, hall" in sentence(found.fields())


def test_a_lamp_that_went_twice_counts_once() -> None:
    assert outages(gone("cellar", 1) * 3, FLEET) == []


def test_devices_that_are_no_longer_registered_are_left_out() -> None:
    assert outages([Going("1-0", 1, "f" * 12, "silent", "g1")] * 2, FLEET) == []


@pytest.mark.parametrize("reason", ["silent", "gateway gone"])
def test_an_outage_covers_its_own_devices_and_no_others(reason: str) -> None:
    goings = gone("hall", 6, reason=reason)
    (found,) = outages(goings, FLEET)
    told = json.loads(json.dumps(found.fields()))

    def room_of(device_id: str) -> str | None:
        return FLEET.devices[device_id].room

    assert all(covers(told, going, room_of) for going in goings)
    later = gone("hall", 1, at_ms=5_000, reason=reason)
    elsewhere = gone("attic", 1, at_ms=1_005, reason="silent", gateway="g2")
    assert not any(covers(told, going, room_of) for going in later + elsewhere)

"""Rooms."""

from __future__ import annotations

import pytest

from espfleet.domain.rooms import Room, new_room
from espfleet.errors import InvalidError


def test_a_room_survives_being_stored() -> None:
    room = new_room("hall", "uplink", "40", labels=["ground"])
    assert room == Room(name="hall", group="uplink", brightness=40, labels=("ground",))
    assert Room.from_dict({**room.to_dict(), "unheard": 1}) == room
    assert Room.from_dict({"name": "hall"}) == Room(name="hall")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": ""}, "cannot be the name of a room"),
        ({"group": "no good"}, "cannot be the name of a group"),
        ({"brightness": 101}, "brightness must be a number from 0 to 100 percent"),
        ({"brightness": None}, "brightness must be a number"),
    ],
)
def test_bad_rooms_are_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidError, match=says):
        new_room(**{"name": "hall", **changes})

"""Rooms: the lamps of a place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from espfleet.domain.names import check_labels, check_name, check_whole

DEFAULT_ROOM = "default"
BRIGHTNESS = (0, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """The lamps of a place.

    Attributes:
        name: Name for people; unique among rooms.
        group: Name of the group its lamps show, or ``None`` while none is chosen.
        brightness: Brightness of its lamps, in percent, 0 to 100.
        labels: Words for finding it.
    """

    name: str
    group: str | None = None
    brightness: int = 100
    labels: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Room:
        """Return the room that ``to_dict`` described; unknown fields are ignored."""
        return cls(
            name=values["name"],
            group=values.get("group"),
            brightness=values.get("brightness", 100),
            labels=tuple(values.get("labels", ())),
        )


def new_room(name: object, group: object = None, brightness: object = 100, labels: Iterable[object] = ()) -> Room:
    """Return a checked room.

    Raises:
        InvalidError: If a value cannot be used.
    """
    return Room(
        name=check_name(name, "room"),
        group=None if group is None else check_name(group, "group"),
        brightness=check_whole(brightness, "brightness", *BRIGHTNESS, "percent"),
        labels=check_labels(labels),
    )

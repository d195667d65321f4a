"""Commands about rooms."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from espfleet.cli import output
from espfleet.cli.opening import with_store
from espfleet.cli.words import level_text
from espfleet.services import rooms as service
from espfleet.services.rooms import RoomView

if TYPE_CHECKING:
    from rich.console import RenderableType


def to_json(view: RoomView) -> dict[str, Any]:
    """Return a room as programs see it."""
    return {
        "name": view.room.name,
        "group": view.room.group,
        "level": view.level.level if view.level.band is not None else None,
        "state": view.level.state.value,
        "band": view.level.band.value if view.level.band is not None else None,
        "reason": view.level.reason,
        "brightness": view.room.brightness,
        "devices": list(view.devices),
        "labels": list(view.room.labels),
    }


def rooms() -> None:
    """List the rooms."""
    views = with_store(lambda store: service.views(store, now_ms=store.now_ms()))
    output.show([to_json(view) for view in views], lambda: room_table(views))


def room_table(views: list[RoomView]) -> RenderableType:
    """Return the rooms as a table for people."""
    return output.table(
        ("room", "level", "watches", "because", "devices"),
        [
            (
                view.room.name,
                level_text(view.level),
                view.room.group or "–",
                view.level.reason or "–",
                ", ".join(view.devices) or "–",
            )
            for view in views
        ],
        "There is no room yet: ./espcli room NAME add",
        folded=("because", "devices"),
    )


class RoomCommands:
    """One room. Without a verb it is shown."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __str__(self) -> str:
        view = with_store(lambda store: service.view(store, name=self._name, now_ms=store.now_ms()))
        return output.rendered(to_json(view), lambda: room_table([view]))

    def add(self, group: str = "", brightness: str = "100") -> None:
        """Make the room.

        Args:
            group: Group that its lamps show.
            brightness: Brightness of its lamps in percent, 0 to 100.
        """
        room = with_store(functools.partial(service.add, name=self._name, group=group or None, brightness=brightness))
        shows = (
            f"its lamps show group {room.group}"
            if room.group
            else f"choose what it shows: ./espcli room {room.name} watch GROUP"
        )
        output.say(f"Room {room.name} is there; {shows}.", room.to_dict())

    def watch(self, group: str) -> None:
        """Let the lamps of the room show a group.

        Args:
            group: Name of the group.
        """
        room = with_store(functools.partial(service.watch_group, name=self._name, group=group))
        output.say(f"The lamps of room {room.name} show group {room.group} now.", room.to_dict())

    def brightness(self, percent: str) -> None:
        """Set the brightness of the room's lamps, 0 to 100 percent.

        Args:
            percent: Brightness in percent, 0 to 100.
        """
        room = with_store(functools.partial(service.set_brightness, name=self._name, percent=percent))
        output.say(f"Room {room.name} has {room.brightness} percent now.", room.to_dict())

    def remove(self) -> None:
        """Remove the room; it must be empty."""
        room = with_store(functools.partial(service.remove, name=self._name))
        output.say(f"Room {room.name} is gone.", room.to_dict())

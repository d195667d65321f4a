"""Viewers: programs that watch the fleet. What is told to many is written once; who reads too slowly is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Set
from itertools import islice
from typing import Any

from espfleet.domain import replies
from espfleet.domain.closing import CloseCode, restart_reason
from espfleet.domain.devices import Device, Reason
from espfleet.domain.messages import TEXT_BYTES, LampEvent, ProtocolError, Watch
from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.errors import NotFoundError, StoreError
from espfleet.gateway.connection import Connection
from espfleet.gateway.frames import text_frame
from espfleet.gateway.settings import GatewaySettings
from espfleet.store.presence import PresenceInfo

#: Devices told to a new viewer at a time.
AT_ONCE = 500
#: What may happen while a viewer is still told how things are.
HELD = 10_000
RETRY_S = 0.5

ReadPresence = Callable[[Collection[str]], Awaitable[Mapping[str, PresenceInfo]]]
LevelOf = Callable[[str], GroupLevel]


class Viewer:
    """One viewer; what its connection takes it for.

    Attributes:
        connection: Where it is connected.
        watch: What it asked for.
        token_hash: The stored hash that its token matched, or ``None`` where none was asked for.
        devices: Ids of the devices it sees now.
        groups: Names of the groups it sees now.
        new_devices, new_groups: Those of them it has not been told about yet.
        held: What happened while it is still told how things are, or ``None``.
        task: Tells it how things are, while there is something new.
    """

    most_bytes = TEXT_BYTES

    def __init__(
        self, connection: Connection, watch: Watch, token_hash: str | None, leave: Callable[[Viewer], None]
    ) -> None:
        self.connection = connection
        self.watch = watch
        self.token_hash = token_hash
        self.devices: Set[str] = frozenset()
        self.groups: Set[str] = frozenset()
        self.new_devices: set[str] = set()
        self.new_groups: set[str] = set()
        self.held: list[bytes] | None = None
        self.task: asyncio.Task[None] | None = None
        self._leave = leave
        self._room = asyncio.Event()

    def tell(self, frame: bytes) -> None:
        """Send what happened, or hold it back until the viewer knows how things were before."""
        if self.held is None:
            self.connection.send(frame)
        elif len(self.held) < HELD:
            self.held.append(frame)
        else:
            self.connection.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)

    async def tell_all(self, frames: Iterable[bytes]) -> None:
        """Send many frames, no faster than they are read."""
        for frame in frames:
            while self.connection.blocked_s and self.connection.peer is self:
                self._room.clear()
                await self._room.wait()
            self.connection.send(frame)

    def heard(self) -> None:
        """Do nothing: a viewer may keep its connection alive so."""

    def stirred(self) -> None:
        """Do nothing."""

    def text(self, _text: str) -> None:
        """Refuse: a viewer says what it wants to watch, and listens."""
        raise ProtocolError("a viewer says what it watches once, and nothing after that")

    def binary(self, _data: bytes) -> None:
        """Refuse."""
        raise ProtocolError("a viewer may send no binary messages")

    def turned(self) -> None:
        """Go on telling as soon as that is possible."""
        if not self.connection.blocked_s:
            self._room.set()

    def lost(self, _reason: Reason) -> None:
        """Forget it."""
        self._room.set()
        if self.task is not None:
            self.task.cancel()
        self._leave(self)


class Viewers:
    """All viewers of this gateway."""

    def __init__(self, settings: GatewaySettings, level_of: LevelOf, read_presence: ReadPresence) -> None:
        self._settings = settings
        self._level_of = level_of
        self._read_presence = read_presence
        self._registry = Registry()
        self._everything: tuple[Set[str], Set[str]] = (frozenset(), frozenset())
        self._viewers: set[Viewer] = set()
        self._told: dict[str, tuple[object, ...]] = {}

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._viewers)

    def begin(self, connection: Connection, watch: Watch, token_hash: str | None, now_ms: int) -> None:
        """Let a viewer in, with the stored hash of the token it showed.

        Raises:
            ProtocolError: If it wants to see what is not there, or there are as many as there may be.
        """
        # So many may have come to the door while there were places.
        if len(self._viewers) >= self._settings.limits.viewers:
            raise ProtocolError("this gateway has as many viewers as it may have", close_code=CloseCode.TOO_MUCH)
        try:
            for name in watch.devices:
                self._registry.device(name)
            for name in watch.rooms:
                self._registry.room(name)
        except NotFoundError as exc:
            raise ProtocolError(str(exc)) from None
        if not self._viewers:
            self._told = {group: _news(self._level_of(group)) for group in self._registry.groups}
        viewer = Viewer(connection, watch, token_hash, self._viewers.discard)
        connection.peer = viewer
        self._viewers.add(viewer)
        settings = self._settings
        connection.send(text_frame(replies.watching(settings.name, at_ms=now_ms, period_ms=settings.period_ms)))
        self._look(viewer)

    def set_registry(self, registry: Registry, token_hashes: Collection[str]) -> None:
        """Act on what the user has changed: who sees what, and which tokens are valid."""
        self._registry = registry
        # One set for all who watch everything.
        self._everything = frozenset(registry.devices), frozenset(registry.groups)
        for viewer in list(self._viewers):
            if viewer.token_hash not in token_hashes and (viewer.token_hash is not None or token_hashes):
                reason = "this token is not valid any more" if viewer.token_hash else "a viewer must show its token"
                viewer.connection.close(CloseCode.TOKEN, reason, Reason.REFUSED)
            else:
                self._look(viewer)

    def show_levels(self, groups: Collection[str] | None = None) -> None:
        """Tell levels that changed, or with ``None`` those among all."""
        if not self._viewers:
            return
        for group in [*self._registry.groups] if groups is None else groups:
            level = self._level_of(group)
            news = _news(level)
            if self._told.get(group) != news:
                self._told[group] = news
                self._tell(replies.viewer_level(level), [viewer for viewer in self._viewers if group in viewer.groups])

    def tell_presence_again(self) -> None:
        """Tell who is there: it may not have been heard that devices came and went."""
        for viewer in self._viewers:
            viewer.new_devices |= viewer.devices
            self._introduce_soon(viewer)

    def presence(self, device_id: str, presence: str, reason: str, at_ms: int) -> None:
        """Tell that a device came or went."""
        for device, watching in self._who_see(device_id):
            self._tell(replies.viewer_presence(device_id, device.name, presence, reason, at_ms), watching)

    def event(self, device_id: str, event: LampEvent, at_ms: int) -> None:
        """Tell what happened on a device."""
        for device, watching in self._who_see(device_id):
            self._tell(replies.viewer_event(device_id, device.name, event, at_ms), watching)

    def reading(self, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
        """Tell what a device measured."""
        for device, watching in self._who_see(device_id):
            self._tell(replies.viewer_reading(device_id, device.name, values, at_ms), watching)

    def tick(self, now_s: float) -> None:
        """Cut viewers that do not read."""
        for viewer in list(self._viewers):
            blocked_s = viewer.connection.blocked_s
            if blocked_s and now_s - blocked_s >= self._settings.limits.blocked_ms / 1_000:
                viewer.connection.close(CloseCode.TOO_MUCH, "too slow", Reason.SLOW)

    def close(self, retry_ms: int) -> None:
        """Close them all: the gateway will be back."""
        for viewer in list(self._viewers):
            viewer.connection.close(CloseCode.RESTARTING, restart_reason(retry_ms), Reason.GATEWAY)

    def _look(self, viewer: Viewer) -> None:
        """Work out what a viewer sees, and tell it of what it did not see before."""
        devices, groups = self._everything if viewer.watch.everything else self._seen(viewer.watch)
        viewer.new_devices |= devices - viewer.devices
        viewer.new_groups |= groups - viewer.groups
        viewer.devices, viewer.groups = devices, groups
        self._introduce_soon(viewer)

    def _introduce_soon(self, viewer: Viewer) -> None:
        if viewer.held is None and (viewer.new_devices or viewer.new_groups):
            viewer.held = []
            viewer.task = asyncio.create_task(self._introduce(viewer), name="introduce a viewer")

    def _seen(self, watch: Watch) -> tuple[Set[str], Set[str]]:
        """Return the devices and groups that belong to what is watched."""
        registry = self._registry
        named = {registry.device_ids.get(name, name) for name in watch.devices}
        seen = [device for device in registry.devices.values() if device.id in named or device.room in watch.rooms]
        groups = {registry.group_of(device) for device in seen}
        groups |= {registry.rooms[name].group for name in watch.rooms if name in registry.rooms}
        return {device.id for device in seen}, {group for group in groups if group is not None}

    def _who_see(self, device_id: str) -> Iterator[tuple[Device, list[Viewer]]]:
        """Return a device with those who watch it, unless nobody does."""
        watching = [viewer for viewer in self._viewers if device_id in viewer.devices]
        device = self._registry.devices.get(device_id)
        if watching and device is not None:
            yield device, watching

    def _tell(self, text: str, viewers: Iterable[Viewer]) -> None:
        frame = text_frame(text)
        for viewer in viewers:
            viewer.tell(frame)

    async def _introduce(self, viewer: Viewer) -> None:
        """Tell a viewer how things are, then what happened meanwhile."""
        while viewer.new_groups or viewer.new_devices:
            groups, viewer.new_groups = viewer.new_groups, set()
            await viewer.tell_all([text_frame(replies.viewer_level(self._level_of(group))) for group in groups])
            some = set(islice(viewer.new_devices, AT_ONCE))
            viewer.new_devices -= some
            known = await self._present(some) if some else {}
            await viewer.tell_all(
                text_frame(_presence_of(self._registry.devices[device_id], info))
                for device_id, info in known.items()
                if device_id in self._registry.devices
            )
        held, viewer.held = viewer.held, None
        for frame in held or ():
            viewer.connection.send(frame)

    async def _present(self, device_ids: Collection[str]) -> Mapping[str, PresenceInfo]:
        """Return who is there; wait while Redis is away."""
        while True:
            try:
                return await self._read_presence(device_ids)
            except StoreError:
                await asyncio.sleep(RETRY_S)


def _news(level: GroupLevel) -> tuple[object, ...]:
    """Return what of a level is worth telling when it changes."""
    return level.level, level.state, level.reason


def _presence_of(device: Device, info: PresenceInfo) -> str:
    reason = info.reason.value if info.reason else ""
    return replies.viewer_presence(device.id, device.name, info.presence.value, reason, info.changed_ms or 0)


def event_of(fields: Mapping[str, Any]) -> LampEvent:
    """Return the event of a device that was stored with these fields."""
    return LampEvent(name=str(fields["event"]), fields=fields["fields"])

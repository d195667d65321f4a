"""The hub: all sessions of this gateway, what they are shown, and what becomes of them.

It knows only messages of the domain; dialects turn them into frames and back. Nothing in it waits: what Redis is to
know goes through the ``Journal``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from operator import attrgetter
from typing import Protocol

from espfleet.domain.buckets import Buckets
from espfleet.domain.closing import CloseCode, often_reason, restart_reason
from espfleet.domain.devices import Device, Presence, Reason
from espfleet.domain.messages import (
    Fetch,
    Hello,
    Keepalive,
    LampEvent,
    Message,
    ProtocolError,
    Question,
    Readings,
    Result,
)
from espfleet.domain.registry import Registry
from espfleet.gateway.connection import Connection
from espfleet.gateway.contests import OTHER_ALIVE, Contests
from espfleet.gateway.dialects import Dialect
from espfleet.gateway.hand_over import RETRY_FROM_MS, HandOver, spread
from espfleet.gateway.levels import LevelBoard
from espfleet.gateway.passes import Directory, Pass
from espfleet.gateway.sessions import Session
from espfleet.gateway.settings import GatewaySettings
from espfleet.gateway.stages import Stages

logger = logging.getLogger(__name__)
_heard_s = attrgetter("heard_s")
#: So many times a device may come at once, and once more each time this many seconds passed: each time is told to the
#: whole fleet.
COMES_AT_ONCE = 30
COMES_EACH_S = 1.0


class Journal(Protocol):
    """Who tells the rest of the fleet what happens here; it never waits."""

    def came(self, session: Session) -> None:
        """A session has begun."""

    def stays(self, session: Session) -> None:
        """A session has proved that it lives, although the device has a newer one at another gateway."""

    def changed(self, session: Session) -> None:
        """A device became late, or live again."""

    def went(self, session: Session, reason: Reason) -> None:
        """A session has ended."""

    def read(self, session: Session, values: Mapping[str, float], at_ms: int | None = None) -> None:
        """A device sent readings; without a clock it does not say of when."""

    def happened(self, session: Session, event: LampEvent) -> None:
        """A device sent an event."""

    def answered(self, session: Session, result: Result) -> None:
        """A device sent the result of a command."""

    def asked(self, session: Session, fetch: Fetch) -> None:
        """A device asked for a piece of new firmware."""

    def pictured(self, session: Session, data: bytes) -> None:
        """A camera sent a picture."""


class Hub:
    """All sessions of this gateway.

    Attributes:
        directory: Who may come in, as far as it is known here.
        board: Levels of all groups.
        sessions: By hardware id.
        clock: Returns seconds that never jump.
        now_ms: Returns ms since the epoch, by the clock of Redis.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        registry: Registry,
        board: LevelBoard,
        journal: Journal,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = Directory(registry)
        self.board = board
        self.clock = clock
        self.now_ms = now_ms
        self.sessions: dict[str, Session] = {}
        self._settings = settings
        self._journal = journal
        self._stages = Stages(self._draw, asyncio.get_running_loop())
        self._contests = Contests(settings.limits.ping_ms, journal.stays)
        self._comings = Buckets(COMES_AT_ONCE, COMES_EACH_S, clock)
        self._asked: set[Session] = set()
        self._asked_s = clock()
        self._look_s = 0.0
        self._number = 0
        self._stopping = False
        self._handing_over: HandOver | None = None

    @property
    def registry(self) -> Registry:
        """What the user has set up, as far as it is known here."""
        return self.directory.registry

    @property
    def gone(self) -> int:
        """How many sessions have ended."""
        return self._number - len(self.sessions)

    # Who comes and goes.

    def admit(self, connection: Connection, given: Pass) -> None:
        """Let a device in; if it is in already, only when its older session is dead."""
        wait_s = self._comings.wait_s(given.device.id)
        if wait_s:
            wait_ms = max(round(wait_s * 1_000), 1)
            connection.close(CloseCode.TRY_LATER, often_reason(wait_ms), Reason.REFUSED)
            return
        self._comings.take(given.device.id)
        older = self.sessions.get(given.device.id)
        if older is None:
            self._seat(connection, given)
        else:
            self._contests.begin(older, (connection, given), self.clock())

    def left(self, session: Session, reason: Reason) -> None:
        """Forget a session that has ended, and let in the one that waited for this."""
        device = session.device
        del self.sessions[device.id]
        self._stages.leave(session)
        self._asked.discard(session)
        if self._handing_over is None or reason is not Reason.GATEWAY:
            self._journal.went(session, reason)
        logger.info("%s has gone: %s", device.name, reason.value)
        newcomer = self._contests.end(session)
        if newcomer is not None:
            self._let_in(*newcomer)

    def came_elsewhere(self, device_id: str, gateway: str, since_ms: int, stays: bool) -> None:
        """Look whether a device is still here that is at another gateway too: the older living session stays.

        Args:
            device_id: Hardware id.
            gateway: Name of the other gateway.
            since_ms: When the session there began, ms since the epoch; equal ones are told apart by their gateways.
            stays: Whether that session has proved that it lives.
        """
        if self._handing_over is not None:
            self._handing_over.arrived(device_id)
        session = self.sessions.get(device_id)
        if session is None:
            return
        if stays and (since_ms, gateway) < (session.since_ms, self._settings.name):
            session.connection.close(CloseCode.REPLACED, OTHER_ALIVE, Reason.REFUSED)
        else:
            self._contests.begin(session, None, self.clock())

    def _let_in(self, connection: Connection, given: Pass) -> None:
        """Let in a device that had to wait, unless the registry has changed meanwhile, or the gateway stops."""
        if self._stopping:
            connection.close(CloseCode.RESTARTING, restart_reason(RETRY_FROM_MS), Reason.GATEWAY)
            return
        try:
            self.directory.still(given.device, given.token_hash, connection.host)
        except ProtocolError as exc:
            connection.close(exc.close_code, str(exc), Reason.REFUSED)
        else:
            self._seat(connection, given)

    def _seat(self, connection: Connection, given: Pass) -> None:
        self._number += 1
        session = Session(self, connection, given, self._number, self.now_ms())
        session.device = self.registry.devices.get(given.device.id, given.device)
        connection.peer = session
        self.sessions[session.device.id] = session
        self._welcome(session)
        self._stage(session)
        if session.dialect.question is not None:
            self._asked.add(session)
        self._journal.came(session)
        logger.info("%s has come from %s (%s)", session.device.name, connection.host, session.dialect.name.value)

    # What sessions tell (``sessions.Host``).

    def returned(self, session: Session) -> None:
        """Show a device that was silent what it missed."""
        session.presence = Presence.LIVE
        if session.outdated:
            self._welcome(session)
        elif session.dialect.shows_levels(session.device):
            session.connection.show(self._draw(self.registry.group_of(session.device), session.dialect))
        self._stage(session)
        self._journal.changed(session)
        logger.info("%s is back", session.device.name)

    def answered(self, session: Session) -> None:
        """Note that a device's connection lives."""
        self._contests.answered(session)

    def said(self, session: Session, message: Message) -> None:
        """Pass on what a device said.

        Raises:
            ProtocolError: If it is nothing for a device to say now.
        """
        if isinstance(message, Keepalive):
            values = message.values()
            if values:
                self._journal.read(session, values)
        elif isinstance(message, Readings):
            self._journal.read(session, message.values, message.at_ms)
        elif isinstance(message, LampEvent):
            self._journal.happened(session, message)
        elif isinstance(message, Result):
            self._journal.answered(session, message)
        elif isinstance(message, Fetch):
            self._journal.asked(session, message)
        elif not isinstance(message, Question):
            kind = "a second hello" if isinstance(message, Hello) else "a watch"
            raise ProtocolError(f"{kind} is nothing for {session.device.name} to say here")

    def pictured(self, session: Session, data: bytes) -> None:
        """Pass on what a camera saw."""
        self._journal.pictured(session, data)

    # What the fleet tells.

    def show_levels(self, groups: Collection[str] | None = None) -> None:
        """Show levels that changed, or with ``None`` all."""
        self._stages.refresh(groups)

    def set_registry(self, registry: Registry) -> None:
        """Act on everything that the user has changed."""
        before, self.directory = self.registry, Directory(registry)
        if not registry.devices and registry.version < before.version:
            # Nobody removes all devices and the version: Redis was emptied, perhaps to be filled again from a backup.
            logger.warning("the registry is empty: open sessions stay, and their lamps are shown that nothing is known")
        else:
            for session in list(self.sessions.values()):
                self._review(session, before)
        self.show_levels()

    def _review(self, session: Session, before: Registry) -> None:
        """Act on what has changed about one device."""
        old = session.device
        if session.token_hash is not None and self._is_unchanged(old, before):
            return
        try:
            device = self.directory.still(old, session.token_hash, session.connection.host)
        except ProtocolError as exc:
            session.connection.close(exc.close_code, str(exc), Reason.REFUSED)
            return
        session.device = device
        told_before = old.name, old.room, old.kinds, before.group_of(old), before.brightness_of(old)
        now = self.registry
        told_now = device.name, device.room, device.kinds, now.group_of(device), now.brightness_of(device)
        if told_before != told_now:
            session.outdated = True
            if session.presence is Presence.LIVE:
                self._welcome(session)
                self._stage(session)

    def _is_unchanged(self, device: Device, before: Registry) -> bool:
        """Tell whether a device and its room are the same objects as before, as nearly all are after a change."""
        room = device.room or ""
        now = self.registry
        return now.devices.get(device.id) is device and now.rooms.get(room) is before.rooms.get(room)

    # The clock.

    def tick(self, now_s: float) -> None:
        """Notice who has become silent."""
        if now_s >= self._look_s:
            self._look_for_silence(now_s)
        self._contests.tick(now_s)
        if now_s - self._asked_s >= self._settings.keepalive_ms / 1_000:
            self._asked_s = now_s
            for session in self._asked:
                if not session.connection.blocked_s:
                    session.connection.send(session.dialect.question or b"")

    def _look_for_silence(self, now_s: float) -> None:
        """Look at all sessions, and say when the next look can find something."""
        late_s, close_s = self._settings.late_ms / 1_000, self._settings.close_ms / 1_000
        late_at_s = now_s - late_s
        silent = [one for one in self.sessions.values() if one.heard_s <= late_at_s]
        for session in silent:
            silent_s = now_s - session.heard_s
            if session.presence is Presence.LIVE:
                self._is_late(session, silent_s)
            if silent_s >= close_s:
                session.connection.close(CloseCode.SILENT, f"silent for {silent_s:.0f} s", Reason.SILENT)
        # Nobody becomes late, or is silent for too long, before that.
        heard_s = [one for one in map(_heard_s, self.sessions.values()) if one > late_at_s]
        soonest_s = min(heard_s, default=now_s) + late_s
        self._look_s = min([soonest_s, *(one.heard_s + close_s for one in silent)])

    def heard_since(self, since_s: float) -> Iterator[Session]:
        """Return sessions that were heard since a time on ``clock``."""
        return (session for session in self.sessions.values() if session.heard_s >= since_s)

    def close(self) -> None:
        """Close every session: the gateway will be back, and each lamp is told when to come."""
        self._stopping = True
        self._stages.stop()
        for session, retry_ms in zip(list(self.sessions.values()), spread(len(self.sessions)), strict=True):
            session.connection.close(CloseCode.RESTARTING, restart_reason(retry_ms), Reason.GATEWAY)

    def hand_over(self, until_s: float) -> int:
        """Send sessions to other gateways, as many as these take now; return how many are still here.

        Nobody is told that they went: whoever is not back when its watchdog runs out is offline by that.

        Args:
            until_s: When all must have gone, on ``clock``.
        """
        self._stopping = True
        if self._handing_over is None:
            self._handing_over = HandOver(self.sessions, until_s, self._settings.lease_ms / 1_000)
        for device_id in self._handing_over.next(self.clock()):
            session = self.sessions.get(device_id)
            if session is not None:
                session.connection.close(CloseCode.RESTARTING, restart_reason(0), Reason.GATEWAY)
        return len(self.sessions)

    def _is_late(self, session: Session, silent_s: float) -> None:
        session.presence = Presence.LATE
        self._stages.leave(session)
        self._journal.changed(session)
        logger.info("%s is late: silent for %.1f s", session.device.name, silent_s)

    # Frames.

    def _stage(self, session: Session) -> None:
        """Let a session see its group from now on, if it is there for that."""
        if session.dialect.shows_levels(session.device):
            self._stages.join(session, self.registry.group_of(session.device))
        else:
            self._stages.leave(session)

    def _welcome(self, session: Session) -> None:
        session.outdated = False
        now_ms = self.now_ms()
        level = self.board.of(self.registry.group_of(session.device), self.registry, now_ms)
        frame = session.dialect.welcome(session.device, self.registry, level, now_ms, self.clock())
        session.connection.send(frame, shows=True)

    def _draw(self, group: str | None, dialect: Dialect) -> bytes:
        now_ms = self.now_ms()
        return dialect.level(self.board.of(group, self.registry, now_ms), now_ms, self.clock())

"""Tells Redis which devices are there: who came and went at once, keepalives together, three times a watchdog.

Nothing here waits for Redis; while it is away, what is to be told is kept, the latest of each device.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from espfleet.domain.devices import Presence, Reason
from espfleet.errors import StoreError
from espfleet.gateway.settings import GatewaySettings
from espfleet.store import presence
from espfleet.store.client import Store

if TYPE_CHECKING:
    from espfleet.gateway.hub import Hub
    from espfleet.gateway.sessions import Session

logger = logging.getLogger(__name__)

#: Devices that are told about together: about 5 ms of work, so that lamps need not wait for it.
AT_ONCE = 64
#: What is kept of one device while Redis is away.
KEPT = 8
RETRY_S = 0.5
GATHER_S = 0.02

#: What is to be told of a device: that a session has begun, or anything else.
Note = presence.Session | Callable[[], Awaitable[Any]]


class Attendance:
    """Who is there, as far as this gateway tells the fleet."""

    def __init__(self, store: Store, settings: GatewaySettings) -> None:
        self._store = store
        self._settings = settings
        self._notes: dict[str, deque[Note]] = {}
        self._wake = asyncio.Event()
        self._away = False

    def came(self, session: Session, *, stays: bool = False) -> None:
        """A session has begun, or stays although there is a newer one at another gateway."""
        told = presence.Session(
            session_id=self._session_id(session),
            gateway=self._settings.name,
            watchdog_ms=self._settings.watchdog_ms,
            peer=session.connection.host,
            dialect=session.dialect.name,
            firmware=session.firmware,
            chip=session.chip,
            since_ms=session.since_ms,
            stays=stays,
        )
        self._note(session, told)

    def changed(self, session: Session) -> None:
        """A device became late, or live again."""
        reason = None if session.presence is Presence.LIVE else Reason.SILENT
        told = session.device.id, self._session_id(session), session.presence, reason
        self._note(session, partial(presence.changed, self._store, *told))

    def went(self, session: Session, reason: Reason) -> None:
        """A session has ended."""
        told = session.device.id, self._session_id(session), reason
        self._note(session, partial(presence.went, self._store, *told))

    async def run(self, hub: Hub) -> None:
        """Tell Redis, until cancelled."""
        every_s = self._settings.watchdog_ms / 3_000
        told_s = hub.clock()
        while True:
            try:
                async with asyncio.timeout(max(told_s + every_s - hub.clock(), 0)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            # Whoever comes in the same moment is told about in the same call.
            await asyncio.sleep(GATHER_S)
            try:
                # Thousands who come at once must not let the time of those run out who are there, and have theirs too.
                until_s = max(told_s + every_s, hub.clock() + every_s / 2)
                await self.flush(partial(_is_past, hub.clock, until_s))
                if hub.clock() - told_s >= every_s:
                    now_s = hub.clock()
                    await self._refresh(hub, told_s, now_s)
                    told_s = now_s
            except StoreError as exc:
                self._note_away(exc)
                await asyncio.sleep(RETRY_S)
            else:
                self._note_back(hub)

    async def flush(self, is_enough: Callable[[], bool] = lambda: False) -> None:
        """Tell Redis who came and went, all of them or until it is enough.

        Raises:
            StoreError: If it cannot be told; what is left is kept.
        """
        self._wake.clear()
        while self._notes:
            some = {device_id: self._notes.pop(device_id) for device_id in list(islice(self._notes, AT_ONCE))}
            try:
                await self._tell(some)
            finally:
                for device_id, notes in some.items():
                    if notes:
                        self._notes[device_id] = deque((*notes, *self._notes.get(device_id, ())), maxlen=KEPT)
            if is_enough():
                if self._notes:
                    self._wake.set()
                return

    async def _tell(self, notes: Mapping[str, deque[Note]]) -> None:
        """Tell what happened to some devices, of each in order; what was told is removed."""
        came = {device_id: own[0] for device_id, own in notes.items() if isinstance(own[0], presence.Session)}
        await presence.came_all(self._store, came)
        for device_id in came:
            notes[device_id].popleft()
        outcomes = await asyncio.gather(*(self._tell_one(*item) for item in notes.items()), return_exceptions=True)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _tell_one(self, device_id: str, notes: deque[Note]) -> None:
        while notes:
            note = notes[0]
            if isinstance(note, presence.Session):
                await presence.came(self._store, device_id, note)
            else:
                await note()
            notes.popleft()

    async def _refresh(self, hub: Hub, since_s: float, now_s: float) -> None:
        """Keep those alive that were heard; Redis does not know yet who is still to be told of."""
        watchdog_ms = self._settings.watchdog_ms
        left_ms = {
            session.device.id: max(watchdog_ms - int((now_s - session.heard_s) * 1_000), 1)
            for session in hub.heard_since(since_s)
            if not self._is_new(session.device.id)
        }
        for device_id in await presence.refresh(self._store, self._settings.name, left_ms):
            session = hub.sessions.get(device_id)
            if session is not None:
                self.came(session)

    def _is_new(self, device_id: str) -> bool:
        notes = self._notes.get(device_id)
        return notes is not None and isinstance(notes[0], presence.Session)

    def _note(self, session: Session, note: Note) -> None:
        self._notes.setdefault(session.device.id, deque(maxlen=KEPT)).append(note)
        self._wake.set()

    def _note_away(self, exc: StoreError) -> None:
        if not self._away:
            self._away = True
            logger.warning("Redis cannot be told who is there: %s", exc)

    def _note_back(self, hub: Hub) -> None:
        if self._away:
            self._away = False
            logger.info("Redis is told again who is there")
            # Their time may have run out meanwhile; it is news only for those it did.
            for session in hub.sessions.values():
                self.changed(session)

    def _session_id(self, session: Session) -> str:
        return f"{self._settings.name}/{session.since_ms}/{session.number}"


def _is_past(clock: Callable[[], float], until_s: float) -> bool:
    return clock() >= until_s

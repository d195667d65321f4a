"""Devices whose time has run out while no steward says so: whoever looks would see them live for ever."""

from __future__ import annotations

import asyncio

from espfleet.domain.devices import Presence
from espfleet.errors import StoreError
from espfleet.store import presence
from espfleet.store.client import Store
from espfleet.web.live import Live

#: A steward says it within half a second, and another one takes over from one that is killed within three.
LOOK_S = 2.0


class Absences:
    """Tells readers of the live feed that devices are offline which two looks in a row have found so.

    Nothing is recorded: that is left to the next steward.
    """

    def __init__(self, store: Store, live: Live) -> None:
        self._store = store
        self._live = live
        self._found: frozenset[str] = frozenset()
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            # While Redis is away readers hear no beat, and show nothing as live.
            try:
                await self.look()
            except StoreError:
                self._found = frozenset()

    async def look(self) -> None:
        """Look once, and tell what is news."""
        overdue = frozenset(await presence.overdue(self._store)) if self._live.readers else frozenset[str]()
        news, self._found = (overdue & self._found) - self._told, overdue
        self._told = (self._told & overdue) | news
        for device_id, info in (await presence.read_presence(self._store, sorted(news))).items():
            if info.presence is Presence.OFFLINE:
                reason = info.reason.value if info.reason else None
                told = {"device": device_id, "presence": info.presence.value, "reason": reason, "gateway": info.gateway}
                # It has no id: it is no event of those that are kept.
                self._live.tell("presence", {**told, "kind": presence.EVENT, "at_ms": info.seen_ms})

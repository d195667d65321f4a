"""Devices whose time has run out while no steward says so: whoever looks would see them live for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from espfleet.domain.devices import Presence
from espfleet.errors import StoreError
from espfleet.store import presence
from espfleet.store.client import Store
from espfleet.store.presence import PresenceInfo

#: A steward says it within half a second, and another one takes over from one that is killed within three.
LOOK_S = 2.0


class Absences:
    """Tells those who look that devices are offline which two looks in a row have found so.

    Nothing is recorded: that is left to the next steward.

    Args:
        store: Where the fleet is kept.
        watching: Returns how many look; while nobody does, nothing is asked.
        tell: Takes the id of a device that is offline, or there after all, and what is known of it.
    """

    def __init__(self, store: Store, watching: Callable[[], int], tell: Callable[[str, PresenceInfo], None]) -> None:
        self._store = store
        self._watching = watching
        self._tell = tell
        self._found: frozenset[str] = frozenset()
        self._told: frozenset[str] = frozenset()

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            # While Redis is away nothing is shown as live: no level comes.
            try:
                await self.look()
            except StoreError:
                self._found = frozenset()

    async def look(self) -> None:
        """Look once, and tell what is news."""
        if not self._watching():
            self._found = self._told = frozenset()
            return
        overdue = frozenset(await presence.overdue(self._store))
        gone, back = (overdue & self._found) - self._told, self._told - overdue
        known = await presence.read_presence(self._store, sorted(gone | back))
        # One that was told too early by a gateway that was slow is there without having come; nobody else would say so.
        news = {one for one, info in known.items() if (info.presence is Presence.OFFLINE) == (one in gone)}
        self._found, self._told = overdue, (self._told & overdue) | (gone & news)
        for device_id in sorted(news):
            self._tell(device_id, known[device_id])

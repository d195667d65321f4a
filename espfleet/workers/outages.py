"""Finding failures that many devices share, a duty of the steward: each is told as one event, once."""

from __future__ import annotations

import logging
from dataclasses import replace

from espfleet.domain import outages
from espfleet.domain.outages import EVENT, WINDOW_MS, Going
from espfleet.services.events import going_of
from espfleet.store import events, registry
from espfleet.store.client import Store
from espfleet.store.events import Event
from espfleet.store.leases import Lease

logger = logging.getLogger(__name__)

DUTY = "lead:outages"
LEASE_MS = 2_000
STEP_S = 0.5
#: How far back a new holder of the duty looks: longer than the duty may have been nobody's.
BACK_MS = 10_000
READ_COUNT = 1_000


class OutageFinder:
    """Follows the events; call ``step`` about twice a second.

    Attributes:
        told: Outages told so far.
    """

    def __init__(self, store: Store, name: str) -> None:
        self.told = 0
        self._store = store
        self._name = name
        self._leads = False
        self._read_to = ""
        self._goings: list[Going] = []
        self._known: list[Event] = []

    async def step(self) -> None:
        """Read what happened, and tell what devices share once their moment is over."""
        lease = await Lease.take(self._store, DUTY, self._name, LEASE_MS)
        if lease is None:
            self._leads = False
            return
        now_ms = await self._store.time_ms()
        begins = not self._leads
        if begins:
            self._leads, self._goings, self._known = True, [], []
            self._read_to = str(now_ms - BACK_MS)
        await self._read()
        if begins:
            # Ids never go back, as the clock of Redis may: there may be far older ones among them.
            self._goings = [going for going in self._goings if going.at_ms >= now_ms - BACK_MS]
            self._known = [event for event in self._known if event.at_ms >= now_ms - BACK_MS]
        # What happened while the clock of Redis was ahead, happened some time before now.
        self._goings = [replace(going, at_ms=min(going.at_ms, now_ms)) for going in self._goings]
        self._known = [replace(event, at_ms=min(event.at_ms, now_ms)) for event in self._known]
        while self._goings and now_ms - self._goings[0].at_ms > WINDOW_MS:
            until_ms = self._goings[0].at_ms + WINDOW_MS
            # Its end is the first that came later: the clock may have been set among those after it.
            end = next((n for n, going in enumerate(self._goings) if going.at_ms > until_ms), len(self._goings))
            moment = self._goings[:end]
            await self._tell(moment)
            # Only now: a moment that could not be told is looked at again.
            self._goings = self._goings[len(moment) :]
        self._known = [event for event in self._known if now_ms - event.at_ms < 2 * BACK_MS]

    async def close(self) -> None:
        """Give the duty back."""
        if self._leads and (lease := await Lease.take(self._store, DUTY, self._name, LEASE_MS)) is not None:
            await lease.release()

    async def _read(self) -> None:
        while True:
            found = await events.read(self._store, self._read_to, READ_COUNT)
            for event in found:
                if event.kind == EVENT:
                    self._known.append(event)
                elif (going := going_of(event)) is not None:
                    self._goings.append(going)
            if found:
                self._read_to = found[-1].event_id
            if len(found) < READ_COUNT:
                return

    async def _tell(self, moment: list[Going]) -> None:
        if len(moment) < outages.LEAST_DEVICES:
            return
        current = await registry.latest(self._store)
        rooms = {device.id: device.room for device in current.devices.values()}
        # What another holder of the duty has told before it died is not told again.
        new = [
            going
            for going in moment
            if not any(outages.covers(event.fields, going, rooms.get) for event in self._known)
        ]
        for outage in outages.outages(new, current):
            mark = f"{EVENT}:{outage.scope}:{outage.name}:{outage.first_id}"
            if await events.add(self._store, EVENT, outage.fields(), mark) is not None:
                self.told += 1
                logger.warning("%s", outages.sentence(outage.fields()))

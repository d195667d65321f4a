"""The crowd before the door: how many connections there are, where they come from, and how fast more may come."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from sys import intern
from typing import TYPE_CHECKING

from espfleet.domain.attempts import source_of
from espfleet.domain.places import Places, wait_s
from espfleet.gateway.settings import Limits

if TYPE_CHECKING:
    from espfleet.gateway.connection import Connection

#: So many seconds' worth of clients may come in at once.
BURST_S = 2.0
#: So much more is let in of those who come from where few come from, while others come too fast.
SPARE_SHARE = 4
#: With more sources of guests than that, none is looked for that has most of them.
MANY_SOURCES = 256
#: Nobody is told to wait longer.
LONGEST_S = 60


class Crowd:
    """All connections of a gateway, by source: an IPv4 address, or the /64 network of an IPv6 address.

    A *guest* is a connection that has not said yet who it is.

    Args:
        limits: How many there may be.
        clock: Returns seconds that never jump.

    Attributes:
        come_in_all: How many asked whether they may come.
    """

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self.come_in_all = 0
        self._limits = limits
        self._clock = clock
        self._sources: dict[Connection, str] = {}
        #: By source, those who came first first.
        self._guests: dict[str, dict[Connection, None]] = {}
        self._places = Places(limits.connections, limits.connections_per_source)
        self._guest_places = Places(limits.guests, limits.guests_per_source)
        self._burst = limits.connects_per_s * BURST_S
        self._left = self._burst
        self._most_spare = self._spare = self._burst / SPARE_SHARE
        #: By source, how many have come lately.
        self._lately: Counter[str] = Counter()
        self._lately_s = clock()
        self._at_s = clock()
        self._owed = 0.0
        self._refused = 0

    def __len__(self) -> int:
        """Return how many connections there are."""
        return len(self._sources)

    def __iter__(self) -> Iterator[Connection]:
        """Yield them; they may go meanwhile."""
        return iter(list(self._sources))

    @property
    def refused(self) -> int:
        """How many were told to come back later, or were cut."""
        return self._refused

    def may_come(self, host: str) -> bool:
        """Tell whether a client with this address may take a place at all: beyond this it is not worth a word."""
        self.come_in_all += 1
        source = source_of(host)
        told = self._limits.told
        fits = self._places.fit(source, told) and (
            self._guest_places.fit(source, told) or self._in_the_way(source) is not None
        )
        if not fits:
            self._refused += 1
        return fits

    def cut(self) -> None:
        """Count somebody who was cut before there was a connection."""
        self._refused += 1

    def come(self, connection: Connection) -> list[Connection]:
        """Count a connection, and take it for a guest.

        Returns:
            Guests that have to make way for it, because there are too many and most of them come from where those
            come from; they count as guests no longer.
        """
        # One text for all that come from the same place.
        source = self._sources[connection] = intern(source_of(connection.host))
        gone: list[Connection] = []
        while self._guest_places.full and (one := self._in_the_way(source)) is not None:
            self.introduce(one)
            gone.append(one)
        self._guests.setdefault(source, {})[connection] = None
        self._places.take(source)
        self._guest_places.take(source)
        return gone

    def _in_the_way(self, source: str) -> Connection | None:
        """Return the oldest guest from where most guests come from, if one from here may take its place."""
        if len(self._guests) > MANY_SOURCES:
            return None
        most = max(self._guests.values(), key=len, default={})
        return next(iter(most)) if len(most) >= 2 + len(self._guests.get(source, ())) else None

    def introduce(self, connection: Connection) -> None:
        """Take a connection for a guest no longer: it said who it is, or was told to go."""
        source = self._sources.get(connection, "")
        guests = self._guests.get(source)
        if guests is not None and connection in guests:
            del guests[connection]
            if not guests:
                del self._guests[source]
            self._guest_places.free(source)

    def go(self, connection: Connection) -> None:
        """Count a connection no longer."""
        self.introduce(connection)
        source = self._sources.pop(connection, None)
        if source is not None:
            self._places.free(source)

    def refusal(self, connection: Connection) -> tuple[str, int] | None:
        """Return why a connection that has come may not stay, and when to come back, in s; or ``None``."""
        source = self._sources.get(connection, "")
        if self._places.overfull:
            return self._full("this gateway has as many connections as it may have")
        if self._places.overfull_for(source):
            return self._full("this gateway has as many connections from your address as it may have")
        if self._guest_places.overfull:
            return self._full("too many are waiting at this gateway")
        if self._guest_places.overfull_for(source):
            return self._full("too many from your address are waiting at this gateway")
        return self._too_fast(source)

    def _full(self, why: str) -> tuple[str, int]:
        self._refused += 1
        return why, wait_s(self._refused)

    def _too_fast(self, source: str = "") -> tuple[str, int] | None:
        """Let in as many in a second as can be served; tell others when it is their turn, one after the other.

        A source that keeps coming keeps out nobody who comes from elsewhere: for them some places are spare.
        """
        rate, now_s = self._limits.connects_per_s, self._clock()
        grown = (now_s - self._at_s) * rate
        self._at_s = now_s
        self._left = min(self._burst, self._left + grown)
        self._owed = max(0.0, self._owed - grown)
        self._spare = min(self._most_spare, self._spare + grown / SPARE_SHARE)
        if now_s - self._lately_s >= BURST_S:
            self._lately_s = now_s
            self._lately.clear()
        self._lately[source] += 1
        if self._left >= 1:
            self._left -= 1
            return None
        sources = len(self._lately)
        if self._spare >= 1 and sources > 1 and self._lately[source] * sources <= self._burst:
            self._spare -= 1
            return None
        self._refused += 1
        self._owed += 1
        return "too many are coming at once", min(LONGEST_S, math.ceil(self._owed / rate))

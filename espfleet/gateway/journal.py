"""What happens here goes to Redis, from where viewers hear of it, at whatever gateway they are."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from espfleet.domain import apriltags
from espfleet.domain.buckets import Buckets
from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Reason
from espfleet.domain.messages import Fetch, LampEvent, ProtocolError, Result
from espfleet.gateway.commands import Commands
from espfleet.gateway.gathering import Gathering
from espfleet.gateway.pictures import Pictures
from espfleet.gateway.presence import Attendance
from espfleet.gateway.reports import Reports
from espfleet.gateway.sessions import Session
from espfleet.gateway.updates import Updates

#: What happened in the whole fleet shares one stream, and what is kept while Redis is away: so many events a device may
#: tell at once, and one more each time this many seconds passed.
EVENTS_AT_ONCE = 200
EVENT_EACH_S = 0.1


class FleetJournal:
    """The journal of a gateway in a fleet (``hub.Journal``)."""

    def __init__(
        self,
        attendance: Attendance,
        reports: Reports,
        gathering: Gathering,
        commands: Commands,
        updates: Updates,
        pictures: Pictures,
        now_ms: Callable[[], int],
    ) -> None:
        self._attendance = attendance
        self._reports = reports
        self._gathering = gathering
        self._commands = commands
        self._updates = updates
        self._pictures = pictures
        self._now_ms = now_ms
        self._events = Buckets(EVENTS_AT_ONCE, EVENT_EACH_S, time.monotonic)

    def came(self, session: Session) -> None:
        """A session has begun."""
        self._attendance.came(session)
        self._updates.came(session)
        hashes = session.device.token_hashes
        if session.token_hash is not None and len(hashes) > 1 and session.token_hash != hashes[0]:
            self._reports.token_used(session.device.id, session.token_hash)

    def stays(self, session: Session) -> None:
        """A session has proved that it lives, although the device has a newer one at another gateway."""
        self._attendance.came(session, stays=True)

    def changed(self, session: Session) -> None:
        """A device became late, or live again."""
        self._attendance.changed(session)

    def went(self, session: Session, reason: Reason) -> None:
        """A session has ended."""
        self._attendance.went(session, reason)

    def read(self, session: Session, values: Mapping[str, float], at_ms: int | None = None) -> None:
        """A device sent readings; without a clock they are of now."""
        self._gathering.read(session.device.id, values, self._now_ms() if at_ms is None else at_ms)

    def happened(self, session: Session, event: LampEvent) -> None:
        """A device sent an event, or a camera tells what it recognised.

        Raises:
            ProtocolError: If what was recognised has a bad form, or the device tells more events than it may.
        """
        if event.name == apriltags.EVENT:
            self._reports.recognised(session.device.id, apriltags.check_tag(event.fields), self._now_ms())
        else:
            if self._events.wait_s(session.device.id):
                raise ProtocolError("too many events", close_code=CloseCode.TOO_MUCH)
            self._events.take(session.device.id)
            self._reports.happened(session.device.id, event, self._now_ms())
            self._updates.happened(session, event)

    def pictured(self, session: Session, data: bytes) -> None:
        """A camera sent a picture."""
        self._pictures.take(session.device.id, data)

    def answered(self, session: Session, result: Result) -> None:
        """A device sent the result of a command."""
        self._commands.answered(session, result)

    def asked(self, session: Session, fetch: Fetch) -> None:
        """A device asked for a piece of new firmware."""
        self._updates.asked(session, fetch)

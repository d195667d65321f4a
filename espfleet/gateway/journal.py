"""What happens here goes to Redis, from where viewers hear of it, at whatever gateway they are."""

from __future__ import annotations

from collections.abc import Callable

from espfleet.domain.devices import Reason
from espfleet.domain.messages import LampEvent, Readings, Result
from espfleet.gateway.commands import Commands
from espfleet.gateway.presence import Attendance
from espfleet.gateway.reports import Reports
from espfleet.gateway.sessions import Session


class FleetJournal:
    """The journal of a gateway in a fleet (``hub.Journal``)."""

    def __init__(
        self,
        attendance: Attendance,
        reports: Reports,
        commands: Commands,
        now_ms: Callable[[], int],
    ) -> None:
        self._attendance = attendance
        self._reports = reports
        self._commands = commands
        self._now_ms = now_ms

    def came(self, session: Session) -> None:
        """A session has begun."""
        self._attendance.came(session)

    def stays(self, session: Session) -> None:
        """A session has proved that it lives, although the device has a newer one at another gateway."""
        self._attendance.came(session, stays=True)

    def changed(self, session: Session) -> None:
        """A device became late, or live again."""
        self._attendance.changed(session)

    def went(self, session: Session, reason: Reason) -> None:
        """A session has ended."""
        self._attendance.went(session, reason)

    def read(self, session: Session, readings: Readings) -> None:
        """A device sent readings."""
        at_ms = self._now_ms() if readings.at_ms is None else readings.at_ms
        self._reports.read(session.device.id, readings.values, at_ms)

    def happened(self, session: Session, event: LampEvent) -> None:
        """A device sent an event."""
        self._reports.happened(session.device.id, event, self._now_ms())

    def answered(self, session: Session, result: Result) -> None:
        """A device sent the result of a command."""
        self._commands.answered(session, result)

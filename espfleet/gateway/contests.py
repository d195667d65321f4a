"""When a second session of a device comes: it may stay only if the first one no longer answers.

The second one may also have come to another gateway; then there is nobody to send away here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from espfleet.domain.closing import CloseCode
from espfleet.domain.devices import Reason
from espfleet.domain.messages import TEXT_BYTES
from espfleet.gateway.connection import Connection
from espfleet.gateway.passes import Pass
from espfleet.gateway.sessions import Session

logger = logging.getLogger(__name__)

OTHER_ALIVE = "another session of this device is alive"


@dataclass(slots=True)
class Contest:
    """Two sessions of one device.

    Attributes:
        older: The session that is there; it was sent a ping.
        newcomer: The connection that waits, with why it may come in; ``None`` if it is at another gateway.
        until_s: When the older one must have answered.
    """

    older: Session
    newcomer: tuple[Connection, Pass] | None
    until_s: float


class Contests:
    """All contests, by device.

    Args:
        wait_ms: How long the older session may take to answer.
        stays: Called with a session that has answered while a newer one is at another gateway.
    """

    def __init__(self, wait_ms: int, stays: Callable[[Session], None]) -> None:
        self._wait_s = wait_ms / 1_000
        self._stays = stays
        self._contests: dict[str, Contest] = {}

    def begin(self, older: Session, newcomer: tuple[Connection, Pass] | None, now_s: float) -> None:
        """Ask the older session whether it lives; of several newcomers the last one waits."""
        device_id = older.device.id
        pending = self._contests.get(device_id)
        if pending is not None:
            if newcomer is None:
                # It has been asked already.
                return
            if pending.newcomer is not None:
                pending.newcomer[0].close(CloseCode.REPLACED, OTHER_ALIVE, Reason.REFUSED)
        contest = self._contests[device_id] = Contest(older, newcomer, now_s + self._wait_s)
        if newcomer is not None:
            newcomer[0].peer = Candidate(lambda: self._withdraw(contest))
        older.connection.ping()

    def answered(self, session: Session) -> None:
        """Send the newcomer away: the older session lives."""
        contest = self._contests.get(session.device.id)
        if contest is not None and contest.older is session:
            del self._contests[session.device.id]
            self._send_away(contest)

    def end(self, session: Session) -> tuple[Connection, Pass] | None:
        """Return the newcomer that waited for a session to end, if there is one."""
        contest = self._contests.get(session.device.id)
        if contest is None or contest.older is not session:
            return None
        del self._contests[session.device.id]
        return contest.newcomer

    def tick(self, now_s: float) -> None:
        """Close older sessions that did not answer."""
        for contest in list(self._contests.values()):
            if now_s >= contest.until_s:
                contest.older.connection.close(
                    CloseCode.REPLACED, "replaced by a newer session of this device", Reason.REPLACED
                )

    def _send_away(self, contest: Contest) -> None:
        if contest.newcomer is not None:
            contest.newcomer[0].close(CloseCode.REPLACED, OTHER_ALIVE, Reason.REFUSED)
        else:
            logger.warning("%s has living sessions at two gateways; the older one stays", contest.older.device.name)
            self._stays(contest.older)

    def _withdraw(self, contest: Contest) -> None:
        device_id = contest.older.device.id
        if self._contests.get(device_id) is contest:
            del self._contests[device_id]


class Candidate:
    """What the connection of a waiting newcomer takes it for."""

    most_bytes = TEXT_BYTES

    def __init__(self, withdraw: Callable[[], None]) -> None:
        self._withdraw = withdraw

    def heard(self) -> None:
        """Do nothing: it is not in yet."""

    def stirred(self) -> None:
        """Do nothing."""

    def text(self, _text: str) -> None:
        """Do nothing."""

    def binary(self, _data: bytes) -> None:
        """Do nothing."""

    def turned(self) -> None:
        """Do nothing."""

    def lost(self, _reason: Reason) -> None:
        """Leave the contest."""
        self._withdraw()

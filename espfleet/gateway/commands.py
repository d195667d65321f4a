"""Commands: from whoever sends them to the device they are for, and the result back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from espfleet.domain.devices import Presence
from espfleet.domain.messages import Result
from espfleet.gateway.sessions import Session

#: How long a device may take when nobody says otherwise.
EXPIRES_MS = 5_000
_NO_ARGUMENTS = ("id", "action", "expires_ms")

#: Takes the device's id, the command's id, and the result.
Answer = Callable[[str, str, Mapping[str, Any]], None]


class Commands:
    """Commands that devices have not answered yet."""

    def __init__(self, answer: Answer, clock: Callable[[], float]) -> None:
        self._answer = answer
        self._clock = clock
        self._open: dict[tuple[str, str], float] = {}
        #: By action, who completes a command before it is passed on.
        self.detours: dict[str, Callable[[Session, Mapping[str, Any]], None]] = {}

    def sent(self, session: Session, command: Mapping[str, Any]) -> None:
        """Take a command for a device that is here."""
        self.detours.get(str(command.get("action", "")), self.pass_on)(session, command)

    def pass_on(self, session: Session, command: Mapping[str, Any]) -> None:
        """Pass a command on to its device, or answer in its stead if it cannot obey.

        Args:
            session: The device.
            command: ``id``, ``action``, ``expires_ms`` if it has one, and its arguments: in ``arguments``, or beside.
        """
        command_id, action = str(command.get("id", "")), str(command.get("action", ""))
        expires_ms = command.get("expires_ms")
        if not isinstance(expires_ms, int) or expires_ms <= 0:
            expires_ms = EXPIRES_MS
        arguments = command.get("arguments")
        if not isinstance(arguments, Mapping):
            arguments = {name: value for name, value in command.items() if name not in _NO_ARGUMENTS}
        device = session.device
        frame = session.dialect.command(command_id, action, arguments, expires_ms)
        if frame is None:
            self.refuse(
                session, command_id, f"{device.name} speaks {session.dialect.name}, which has no command for that"
            )
        elif session.presence is not Presence.LIVE or session.connection.blocked_s:
            self.refuse(session, command_id, f"{device.name} is connected but does not answer")
        elif not session.dialect.answers:
            session.connection.send(frame)
            self._answer(device.id, command_id, Result(id=command_id, ok=True).to_dict())
        else:
            self._open[device.id, command_id] = self._clock() + expires_ms / 1_000
            session.connection.send(frame)

    def answered(self, session: Session, result: Result) -> None:
        """Hand on what a device answered, if somebody still waits for it.

        A result without an id answers the oldest command: devices that know no ids do one thing after the other.
        """
        device_id, command_id = session.device.id, result.id or self._oldest(session.device.id)
        until_s = self._open.pop((device_id, command_id), None)
        if until_s is not None and self._clock() <= until_s:
            self._answer(device_id, command_id, {**result.to_dict(), "id": command_id})

    def tick(self, now_s: float) -> None:
        """Forget commands that were not answered in time."""
        for key in [key for key, until_s in self._open.items() if now_s > until_s]:
            del self._open[key]

    def _oldest(self, device_id: str) -> str:
        return next((command_id for device, command_id in self._open if device == device_id), "")

    def refuse(self, session: Session, command_id: str, reason: str) -> None:
        """Answer in the stead of a device that cannot be told."""
        self._answer(session.device.id, command_id, Result(id=command_id, ok=False, error=reason).to_dict())

"""Every failure that a user can do something about.

All are children of ``FleetError``; each carries its data as attributes and one plain sentence as text:

    FleetError
     ├─ InvalidError            a value that cannot be used
     │   └─ SettingsError       … from the environment or ``.env``
     ├─ NotFoundError           nothing of that name
     ├─ ConflictError           it clashes with what is there
     │   └─ NameTakenError      … the name is another one's
     ├─ RefusedError            understood, and not allowed now
     │   └─ LeaseLostError      … this worker no longer owns the work
     ├─ StoreError              Redis
     │   ├─ StoreUnavailableError   … does not answer
     │   ├─ StoreLoginError         … refuses the password or user
     │   ├─ StoreTooOldError        … is older than 7.0
     │   └─ StoreStartError         … the embedded server does not start
     ├─ ProbeNotPermittedError  the kernel lets this user send no ICMP
     ├─ BoardError              a device's own HTTP server
     │   ├─ BoardUnreachableError   … cannot be reached, or not in time
     │   └─ BoardAnswerError        … answers what a board never would
     └─ StartError              a process of the fleet cannot start (port in use, folder read-only)
"""

from __future__ import annotations

from collections.abc import Sequence


class FleetError(Exception):
    """Base of all expected failures. ``code`` is stable and meant for programs."""

    code = "failed"


class InvalidError(FleetError):
    """Raised when a value cannot be used. ``field`` names it."""

    code = "invalid"

    def __init__(self, message: str, *, field: str = "") -> None:
        super().__init__(message)
        self.field = field


class SettingsError(InvalidError):
    """Raised when a setting is unknown or bad; the text names the setting and where it stands."""

    code = "bad_setting"


class NotFoundError(FleetError):
    """Raised when nothing has that name. ``nearest`` holds names that look like it."""

    code = "not_found"

    def __init__(self, kind: str, name: str, nearest: Sequence[str] = ()) -> None:
        hint = f"; did you mean {' or '.join(repr(near) for near in nearest)}?" if nearest else ""
        super().__init__(f"no {kind} is called {name!r}{hint}")
        self.kind = kind
        self.name = name
        self.nearest = tuple(nearest)


class ConflictError(FleetError):
    """Raised when a wish clashes with what is stored."""

    code = "conflict"


class NameTakenError(ConflictError):
    """Raised when a name already belongs to another one. ``suggestion`` is free."""

    code = "name_taken"

    def __init__(self, kind: str, name: str, suggestion: str) -> None:
        super().__init__(f"another {kind} is already called {name!r}; {suggestion!r} is free")
        self.kind = kind
        self.name = name
        self.suggestion = suggestion


class RefusedError(FleetError):
    """Raised when something is understood and not allowed now."""

    code = "refused"


class LeaseLostError(RefusedError):
    """Raised when a write comes from a worker that no longer owns the work."""

    code = "lease_lost"

    def __init__(self, duty: str) -> None:
        super().__init__(f"the lease of {duty} has passed to another worker")
        self.duty = duty


class StoreError(FleetError):
    """Base of everything about Redis."""

    code = "store"


class StoreUnavailableError(StoreError):
    """Raised when Redis does not answer; the text says where it was looked for."""

    code = "store_unavailable"


class StoreLoginError(StoreError):
    """Raised when Redis refuses the user or password."""

    code = "store_login"


class StoreTooOldError(StoreError):
    """Raised when the server is older than Redis 7.0."""

    code = "store_too_old"


class StoreStartError(StoreError):
    """Raised when the embedded server cannot be started."""

    code = "store_start"


class ProbeNotPermittedError(FleetError):
    """Raised when the kernel lets this user send no ICMP at all."""

    code = "probe_not_permitted"


class BoardError(FleetError):
    """Base of everything about a device's own HTTP server."""

    code = "board"


class BoardUnreachableError(BoardError):
    """Raised when a device cannot be reached, or not in time."""

    code = "board_unreachable"


class BoardAnswerError(BoardError):
    """Raised when what answers is not the device it should be."""

    code = "board_answer"


class StartError(FleetError):
    """Raised when a process of the fleet cannot start."""

    code = "start"

"""Every failure that a user can do something about.

All are children of ``FleetError``; each carries its data as attributes and one plain sentence as text:

    FleetError
     ├─ InvalidError            a value that cannot be used
     │   └─ SettingsError       … from the environment or ``.env``
     ├─ NotFoundError           nothing of that name
     │   └─ CameraWantedError   … and no name at all, where there is not just one camera
     ├─ ConflictError           it clashes with what is there
     │   └─ NameTakenError      … the name is another one's
     ├─ RefusedError            understood, and not allowed now
     │   ├─ LeaseLostError      … this worker no longer owns the work
     │   ├─ LockBusyError       … somebody else talks to the device
     │   ├─ LockLostError       … the lock was held too long and passed on
     │   ├─ TokenWantedError    … without a token, or with a wrong one
     │   ├─ TooManyError        … with too many wrong tokens
     │   └─ RoleWantedError     … with a token that may do less
     ├─ StoreError              Redis
     │   ├─ StoreUnavailableError   … does not answer
     │   ├─ StoreLoginError         … refuses the password or user
     │   ├─ StoreTooOldError        … is older than 7.0
     │   └─ StoreStartError         … the embedded server does not start
     ├─ ProbeNotPermittedError  the kernel lets this user send no ICMP
     ├─ BoardError              a device's own HTTP server
     │   ├─ BoardUnreachableError   … cannot be reached, or not in time
     │   │   ├─ BoardClosedError        … nothing listens there
     │   │   └─ BoardSlowError          … the whole answer did not come in time
     │   ├─ BoardAnswerError        … answers what a board never would
     │   │   ├─ BoardPageError          … a web page
     │   │   ├─ BoardBrokenOffError     … half an answer
     │   │   └─ BoardOtherError         … another board's id
     │   └─ BoardRefusedError       … is a board and refuses: no such pin, wrong token
     ├─ CableError              a board on a cable
     │   ├─ PortError               … its port cannot be used
     │   └─ PromptError             … no MicroPython answers there
     ├─ ExportError             a place that metrics are sent to
     └─ StartError              a process of the fleet cannot start (port in use, folder read-only)
"""

from __future__ import annotations

from collections.abc import Sequence

_NAMES_TOLD = 10


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


class CameraWantedError(NotFoundError):
    """Raised when nobody says which camera is meant and there is not just one. ``names`` are those there are."""

    code = "camera_wanted"

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__("camera", "", names)
        self.names = tuple(names)

    def __str__(self) -> str:
        if not self.names:
            return "no camera is registered: ./espcli register IP NAME --dialect hub"
        more = ", …" if len(self.names) > _NAMES_TOLD else ""
        return f"there are several cameras: add ?device= with one of {', '.join(self.names[:_NAMES_TOLD])}{more}"


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


class TokenWantedError(RefusedError):
    """Raised when somebody shows no token where one is needed, or one that is not known."""

    code = "token_wanted"


class TooManyError(RefusedError):
    """Raised when too many wrong tokens came from one place. ``wait_s`` is when to try again, in seconds."""

    code = "too_many_attempts"

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"too many wrong tokens came from there; try again in {wait_s:.0f} s")
        self.wait_s = wait_s


class RoleWantedError(RefusedError):
    """Raised when a token is known and its role may not do this. ``role`` is the one that may."""

    code = "role_wanted"

    def __init__(self, role: str) -> None:
        super().__init__(f"this takes the role {role!r}")
        self.role = role


class LockBusyError(RefusedError):
    """Raised when a device is still being talked to by somebody else after the time one was ready to wait."""

    code = "lock_busy"

    def __init__(self, device: str) -> None:
        super().__init__(f"{device} is busy: somebody else talks to it; try again")
        self.device = device


class LockLostError(RefusedError):
    """Raised when a write comes from somebody whose lock ended meanwhile and who must not write any more."""

    code = "lock_lost"

    def __init__(self, device: str) -> None:
        super().__init__(f"the lock of {device} ended before this was done; it was not stored")
        self.device = device


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


class BoardClosedError(BoardUnreachableError):
    """Raised when nothing listens at the device's address."""

    code = "board_closed"


class BoardSlowError(BoardUnreachableError):
    """Raised when a device's whole answer did not come in time."""

    code = "board_slow"


class BoardPageError(BoardAnswerError):
    """Raised when a web page answers where JSON should."""

    code = "board_page"


class BoardBrokenOffError(BoardAnswerError):
    """Raised when an answer ends before its end."""

    code = "board_broken_off"


class BoardOtherError(BoardAnswerError):
    """Raised when another board answers at the address, as after a change of IPs. ``device_id`` is its id."""

    code = "board_other"

    def __init__(self, address: str, wanted: str, device_id: str) -> None:
        super().__init__(f"at {address} answers {device_id}, not {wanted}: has the board another IP now?")
        self.device_id = device_id


class BoardRefusedError(BoardError):
    """Raised when a board understands a request and refuses it."""

    code = "board_refused"


class CableError(FleetError):
    """Raised when something with a board on a cable does not work."""

    code = "cable"


class PortError(CableError):
    """Raised when a port does not exist, is none, or may not be used now."""

    code = "port"


class PromptError(CableError):
    """Raised when no MicroPython answers at a port, or stops to."""

    code = "prompt"


class ExportError(FleetError):
    """Raised when metrics cannot be sent. ``retry_after_s`` is set where it may work later."""

    code = "export"

    def __init__(self, message: str, *, status: int = 0, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class StartError(FleetError):
    """Raised when a process of the fleet cannot start."""

    code = "start"

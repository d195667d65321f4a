"""Why the gateway closes a connection: codes, reasons, and when to come back."""

from __future__ import annotations

import re
from enum import IntEnum

#: What a close frame can carry beside its code (RFC 6455, 5.5).
REASON_BYTES = 123
_RETRY_AFTER = re.compile(r"\bretry_after_ms=([0-9]{1,9})\b")


class CloseCode(IntEnum):
    """Close codes that the gateway sends."""

    #: The lamp said nothing for ten watchdogs.
    SILENT = 1001
    RESTARTING = 1012
    #: Too many wrong tokens came from there, it comes too often, or nobody can be asked now whether it may be let in.
    TRY_LATER = 1013
    TOKEN = 4001
    REPLACED = 4002
    PROTOCOL = 4003
    UNREGISTERED = 4004
    #: Too much, too big, or too slow in reading.
    TOO_MUCH = 4008


def fit_reason(reason: str) -> str:
    """Return ``reason``, cut where it would not fit into a close frame."""
    data = reason.encode()
    return reason if len(data) <= REASON_BYTES else data[: REASON_BYTES - 3].decode(errors="ignore") + "…"


def restart_reason(retry_after_ms: int) -> str:
    """Return the reason of a close with 1012: the gateway will be back, and this client should wait so long."""
    return f"restarting; retry_after_ms={retry_after_ms}"


def later_reason(retry_after_ms: int) -> str:
    """Return the reason of a close with 1013: too many wrong tokens came from there; this client may try again then."""
    return f"too many wrong tokens came from there; retry_after_ms={retry_after_ms}"


def unsure_reason(retry_after_ms: int) -> str:
    """Return the reason of a close with 1013: it cannot be found out now whether this client may be let in."""
    return f"the fleet's registry cannot be read now; retry_after_ms={retry_after_ms}"


def crowded_reason(retry_after_ms: int) -> str:
    """Return the reason of a close with 1013: too many have not said who they are, most from where it comes from."""
    return f"others are waiting too; retry_after_ms={retry_after_ms}"


def often_reason(retry_after_ms: int) -> str:
    """Return the reason of a close with 1013: this device comes again and again."""
    return f"this device comes too often; retry_after_ms={retry_after_ms}"


def retry_after_ms(reason: str) -> int | None:
    """Return how long a close reason asks to wait, or ``None`` if it does not."""
    found = _RETRY_AFTER.search(reason)
    return int(found[1]) if found else None

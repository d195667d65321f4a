"""S4's messages: JSON text whose key ``event`` says what it is. What comes in is checked here and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from espfleet.domain.closing import CloseCode
from espfleet.domain.messages import SENTENCE_CHARS, TEXT_BYTES, TOKEN_CHARS, WORD_CHARS, ProtocolError
from espfleet.domain.states import GroupLevel

#: What cameras and viewers call themselves.
CAMERA, VIEWER = "esp32", "gdevelop"
#: Who begins with one of these is a viewer that does not say so.
VIEWERS_WORDS = ("request_latest_data", "event_FromGDevelop")

CONNECTION_SUCCESS = {
    "event": "connection_success",
    "message": "WebSocket connected - send identify event",
}
AUTH_FAILED = "Authentication required - check your auth_token"
MISSING_TOKEN = "Missing auth_token"
INVALID_TOKEN = "Invalid auth_token"
ACK = {"event": "apriltag_ack", "status": "received"}
NO_DATA = {"event": "no_data_available"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Identify:
    """Who somebody says it is.

    Attributes:
        kind: ``CAMERA`` or ``VIEWER``.
        name: What it calls itself, or ``""``.
        token: Its secret, or ``""``.
    """

    kind: str
    name: str = ""
    token: str = field(default="", repr=False)


def read_event(text: str) -> tuple[str, dict[str, Any]]:
    """Return the name of a message, and all of it.

    Raises:
        ProtocolError: If it is too long, or no JSON object with an ``event``.
    """
    if len(text.encode()) > TEXT_BYTES:
        raise ProtocolError(f"a message may have {TEXT_BYTES} bytes", close_code=CloseCode.TOO_MUCH)
    try:
        values = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ProtocolError("the message is not JSON") from None
    event = values.get("event") if isinstance(values, dict) else None
    if not isinstance(event, str):
        raise ProtocolError("the message must be a JSON object with an event")
    return event, values


def read_identify(values: Mapping[str, Any]) -> Identify:
    """Return who somebody says it is.

    Raises:
        ProtocolError: If it says so in no way that is known here.
    """
    data = values.get("data")
    if not isinstance(data, Mapping) or data.get("type") not in (CAMERA, VIEWER):
        raise ProtocolError(f"identify must have data with the type {CAMERA} or {VIEWER}", field="data")
    name = data.get("device") or data.get("camera_name") or data.get("name") or ""
    token = data.get("auth_token") or ""
    if not isinstance(name, str) or not isinstance(token, str) or len(token) > TOKEN_CHARS:
        raise ProtocolError("device and auth_token must be texts", field="data")
    return Identify(kind=data["type"], name=name[:WORD_CHARS], token=token)


def identified(kind: str) -> str:
    """Return the answer to an identify that was right."""
    return write({"event": "identify_success", "client_type": kind})


def refused(error: str) -> str:
    """Return the answer to one that was not."""
    return write({"event": "auth_failed", "error": error[:SENTENCE_CHARS], "message": AUTH_FAILED})


def pong(at_ms: int) -> str:
    """Return the answer to a ping."""
    return write({"event": "pong", "timestamp": at_ms / 1_000})


def set_video_interval(interval_ms: int) -> str:
    """Return what tells a camera how often to send a picture."""
    return write({"event": "set_video_interval", "interval_ms": interval_ms})


def level(shown: GroupLevel, lease_ms: int) -> str:
    """Return what tells a camera that is a lamp too what to show, and for how long at most."""
    return write({"event": "level", "level": shown.level, "state": shown.state.value, "lease_ms": lease_ms})


def write(values: Mapping[str, Any]) -> str:
    """Return a message as text."""
    return json.dumps(values, separators=(",", ":"))


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)

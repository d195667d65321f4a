"""Protocol 1: what lamps and viewers say, as values (``replies`` holds what the gateway says).

``docs/protocol.md`` shows every message. What comes in is checked here and nowhere else; unknown types and unknown
fields are ignored, ``null`` counts as absent. Times are ms; a level is a whole number from 0 to 100.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NoReturn

from espfleet.domain.closing import CloseCode
from espfleet.domain.names import check_device_id, check_name, shown
from espfleet.domain.plain import flaw_of
from espfleet.domain.releases import ID_CHARS, MANIFEST_BYTES, PIECE_BYTES, RELEASE_BYTES, Standing
from espfleet.errors import InvalidError

PROTOCOL = 1
#: Where lamps and viewers of protocol 1 connect.
LAMP_PATH = "/lamp"
WATCH_PATH = "/watch"
#: Where cameras and viewers of S4, and clients of S2 connect; any other path is for clients that say no hello.
HUB_PATH = "/websocket"
RELAY_PATH = "/relay"

#: A level is sent at least this often, so that a lamp can notice lateness.
PERIOD_MS = 500
#: How many periods a level may be shown without a newer one.
LEASE_PERIODS = 3
KEEPALIVE_MS = 1_000
#: Three keepalives: two lost packets must not make a lamp look dead.
WATCHDOG_MS = 3_000
#: How long a lamp may take for its hello once the connection is open.
HELLO_MS = 5_000

TEXT_BYTES = 4_096
BINARY_BYTES = 1_048_576
TOKEN_CHARS = 128
WORD_CHARS = 64
SENTENCE_CHARS = 200
NAMES_A_LIST = 1_000
VALUES_A_READING = 64
#: Largest whole number that every JSON reader keeps exactly.
_MOST = 2**53 - 1

KEEPALIVE = '{"type":"keepalive"}'
#: The least and the most of each number in a keepalive.
_KEEPALIVE_LIMITS = {
    "shown": (0, 100),
    "rssi_dbm": (-150, 50),
    "heap_bytes": (0, _MOST),
    "uptime_ms": (0, _MOST),
    "late_ms": (0, _MOST),
}


class ProtocolError(InvalidError):
    """Raised for a message that the protocol does not allow. ``close_code`` is what its sender is told."""

    code = "protocol"

    def __init__(self, message: str, *, field: str = "", close_code: CloseCode = CloseCode.PROTOCOL) -> None:
        super().__init__(message, field=field)
        self.close_code = close_code


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """First message of a lamp.

    Attributes:
        id: Hardware id, 12 hex digits.
        token: Its secret, or ``""``.
        firmware, chip: What it runs on, or ``""``.
        capabilities: What it can do, such as ``identify``.
        boot_reason: Why it started last, or ``""``.
        boot_count: How often it started, or ``None``.
        resume: ``seq`` of the last level it saw, or ``None``.
        update: What became of its last update, or ``None`` where there was none.
    """

    id: str
    token: str = field(default="", repr=False)
    firmware: str = ""
    chip: str = ""
    capabilities: tuple[str, ...] = ()
    boot_reason: str = ""
    boot_count: int | None = None
    resume: int | None = None
    update: Standing | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keepalive:
    """The lamp lives; everything else is optional.

    Attributes:
        shown: Level it shows, 0 to 100.
        rssi_dbm: Wi-Fi signal, -150 to 50.
        heap_bytes: Free memory.
        uptime_ms: Time since it started.
        late_ms: Longest silence of the gateway since its last keepalive.
    """

    shown: int | None = None
    rssi_dbm: int | None = None
    heap_bytes: int | None = None
    uptime_ms: int | None = None
    late_ms: int | None = None

    def values(self) -> dict[str, float]:
        """Return what it reports, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a device answered to the command ``id``: ``data`` if it could, a sentence in ``error`` if it could not."""

    id: str
    ok: bool
    data: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return {"id": self.id, "ok": self.ok, "data": dict(self.data), "error": self.error}


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Numbers a device reports; ``at_ms`` is ms since the epoch, or ``None`` where it has no clock."""

    values: Mapping[str, float]
    at_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LampEvent:
    """Something that happened on a device; ``fields`` are told to viewers as they are."""

    name: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """A lamp asks for a piece of new firmware.

    Attributes:
        release: Id of the release it was offered.
        at: Where the piece begins, bytes from the beginning of the manifest.
        size: How many bytes.
    """

    release: str
    at: int
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a viewer wants to see.

    Attributes:
        token: Its secret, or ``""``.
        devices: Names or hardware ids.
        rooms: Names.
        everything: Whether it wants all devices and groups.
    """

    token: str = field(default="", repr=False)
    devices: tuple[str, ...] = ()
    rooms: tuple[str, ...] = ()
    everything: bool = False


@dataclass(frozen=True, slots=True)
class Question:
    """A device asks whether anybody is there."""


Message = Hello | Keepalive | Result | Readings | LampEvent | Fetch | Watch | Question


def parse(text: str) -> Message | None:
    """Return the message that a lamp or viewer sent, or ``None`` if its type is unknown here.

    Raises:
        ProtocolError: If it is too long, no JSON object, or one of its fields is bad.
    """
    if len(text if text.isascii() else text.encode()) > TEXT_BYTES:
        raise ProtocolError(f"a message may have {TEXT_BYTES} bytes", close_code=CloseCode.TOO_MUCH)
    values = _json(text)
    if not isinstance(values, dict):
        raise ProtocolError("the message is not a JSON object")
    read = _READERS.get(_text(values, "type"))
    if read is None:
        return None
    if None in values.values():
        values = {name: value for name, value in values.items() if value is not None}
    return read(values)


def _json(text: str) -> object:
    """Return what JSON says; an object with nothing around it, as lamps write it, by a shorter way."""
    try:
        if text.startswith("{"):
            value, end = _DECODER.raw_decode(text)
            if end == len(text):
                return value
        return json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise ProtocolError("the message is not JSON") from None


def _hello(values: dict[str, Any]) -> Hello:
    protocol = _whole(values, "protocol", 0, _MOST)
    if protocol != PROTOCOL:
        raise ProtocolError(f"this gateway speaks protocol {PROTOCOL}, not {protocol}", field="protocol")
    try:
        device_id = check_device_id(values.get("id"))
    except InvalidError as exc:
        raise ProtocolError(str(exc), field="id") from None
    boot = values.get("boot", {})
    if not isinstance(boot, dict):
        raise ProtocolError("boot must be an object", field="boot")
    return Hello(
        id=device_id,
        token=_text(values, "token", "", TOKEN_CHARS),
        firmware=_text(values, "firmware", ""),
        chip=_text(values, "chip", ""),
        capabilities=_names(values, "capabilities", 64),
        boot_reason=_text(boot, "reason", ""),
        boot_count=_maybe_whole(boot, "count"),
        resume=_maybe_whole(values, "resume"),
        update=_standing(values.get("update")),
    )


def _standing(values: object) -> Standing | None:
    if values is None:
        return None
    if not isinstance(values, dict):
        raise ProtocolError("update must be an object", field="update")
    return Standing(
        state=_text(values, "state"),
        slot=_text(values, "slot", ""),
        bad=_text(values, "bad", ""),
        why=_text(values, "why", "", SENTENCE_CHARS),
    )


def _keepalive(values: dict[str, Any]) -> Keepalive:
    numbers = {}
    for name, (low, high) in _KEEPALIVE_LIMITS.items():
        number = values.get(name)
        if number is not None:
            # What is usual needs no call.
            fits = type(number) is int and low <= number <= high
            numbers[name] = number if fits else _whole(values, name, low, high)
    return Keepalive(**numbers)


def _result(values: dict[str, Any]) -> Result:
    ok = values.get("ok")
    if not isinstance(ok, bool):
        raise ProtocolError("ok must be true or false", field="ok")
    data = values.get("data", {})
    if not isinstance(data, dict):
        raise ProtocolError("data must be an object", field="data")
    _check_plain(data, "data")
    return Result(id=_text(values, "id"), ok=ok, data=data, error=_text(values, "error", "", SENTENCE_CHARS))


def _readings(values: dict[str, Any]) -> Readings:
    numbers = values.get("values")
    if not isinstance(numbers, dict) or not 0 < len(numbers) <= VALUES_A_READING:
        raise ProtocolError(f"values must be an object with 1 to {VALUES_A_READING} numbers", field="values")
    for name, number in numbers.items():
        _reading_name(name)
        if not _is_number(number):
            raise ProtocolError(f"{name} must be a number, not {shown(number)}", field=name)
    return Readings(
        values={name: float(number) for name, number in numbers.items()}, at_ms=_maybe_whole(values, "at_ms")
    )


def _event(values: dict[str, Any]) -> LampEvent:
    name = _name(values.get("name"), "name")
    fields = {key: value for key, value in values.items() if key not in ("type", "name")}
    _check_plain(fields, "an event")
    return LampEvent(name=name, fields=fields)


def _fetch(values: dict[str, Any]) -> Fetch:
    return Fetch(
        release=_text(values, "release", None, ID_CHARS),
        at=_whole(values, "at", 0, MANIFEST_BYTES + RELEASE_BYTES),
        size=_whole(values, "bytes", 1, PIECE_BYTES),
    )


def _watch(values: dict[str, Any]) -> Watch:
    return Watch(
        token=_text(values, "token", "", TOKEN_CHARS),
        devices=() if values.get("devices") == "*" else _names(values, "devices", NAMES_A_LIST),
        rooms=() if values.get("rooms") == "*" else _names(values, "rooms", NAMES_A_LIST),
        everything="*" in (values.get("devices"), values.get("rooms")),
    )


_READERS: dict[str, Callable[[dict[str, Any]], Message]] = {
    "hello": _hello,
    "keepalive": _keepalive,
    "result": _result,
    "readings": _readings,
    "event": _event,
    "fetch": _fetch,
    "watch": _watch,
}


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


#: Made once: ``json.loads`` would make one each time.
_DECODER = json.JSONDecoder(parse_constant=_no_number)


def _check_plain(values: Mapping[str, Any], what: str) -> None:
    """Refuse what is passed on as it is, and others could not read.

    Raises:
        ProtocolError: If it is nested too deep, or holds a number or text that is none elsewhere.
    """
    flaw = flaw_of(values)
    if flaw:
        raise ProtocolError(f"what {what} holds {flaw}")


def _is_number(value: object) -> bool:
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _text(values: Mapping[str, Any], field: str, default: str | None = None, most: int = WORD_CHARS) -> str:
    text = values.get(field, default)
    if not isinstance(text, str) or len(text) > most or not text.isprintable() or not (text or default == ""):
        raise ProtocolError(f"{field} must be a text of at most {most} printable characters", field=field)
    return text


def _whole(values: Mapping[str, Any], field: str, low: int, high: int) -> int:
    number = values.get(field)
    if not isinstance(number, int) or isinstance(number, bool) or not low <= number <= high:
        raise ProtocolError(f"{field} must be a whole number from {low} to {high}, not {shown(number)}", field=field)
    return number


def _maybe_whole(values: Mapping[str, Any], field: str, low: int = 0, high: int = _MOST) -> int | None:
    return None if values.get(field) is None else _whole(values, field, low, high)


def _name(value: object, field: str) -> str:
    try:
        return check_name(value, "value")
    except InvalidError:
        raise ProtocolError(f"{shown(value)} cannot stand as a name in {field}", field=field) from None


@lru_cache(1_024)
def _reading_name(name: str) -> str:
    """Check the name of a reading: lamps send the same few again and again."""
    return _name(name, "values")


def _names(values: Mapping[str, Any], field: str, most: int) -> tuple[str, ...]:
    names = values.get(field, [])
    if not isinstance(names, list) or len(names) > most:
        raise ProtocolError(f"{field} must be a list of at most {most} names", field=field)
    return tuple(dict.fromkeys(_name(name, field) for name in names))

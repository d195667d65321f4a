"""Devices: registered ESP32 boards, known for ever by their hardware id."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from espfleet.domain.names import SIMULATED, check_device_id, check_labels, check_name, check_whole, shown
from espfleet.domain.rooms import BRIGHTNESS
from espfleet.errors import InvalidError

_TOKEN = re.compile(r"[!-~]+")


#: Where machines in clouds ask for their own settings and passwords.
_CLOUDS = frozenset(
    int(ipaddress.ip_address(text))
    for text in (
        "169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "168.63.129.16", "192.0.0.192",
        "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fe80::a9fe:a9fe",
    )
)  # fmt: skip
#: IPv6 addresses that end in an IPv4 one, to which a router, or this machine, may lead.
_TRANSLATED = tuple(ipaddress.ip_network(text) for text in ("::/96", "::ffff:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48"))
#: What a network interface may be called.
_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,15}")


class Kind(StrEnum):
    """What a device is; it may be several things."""

    LAMP = "lamp"
    BOARD = "board"
    CAMERA = "camera"


class Dialect(StrEnum):
    """What a device speaks on the gateway."""

    V1 = "v1"
    #: PING_LAMP's lamps (S1).
    PINGLAMP = "pinglamp"
    #: Clients of the relay, each of which hears what the others say (S2).
    RELAY = "relay"
    #: Boards with a LED that is told to go on and off (S3).
    BOARDS = "boards"
    #: Cameras that tell what they recognise, and send pictures (S4).
    HUB = "hub"

    @property
    def has_own_page(self) -> bool:
        """Whether such devices serve a page that tells who they are; others are known by address or token."""
        return self is Dialect.V1


class Presence(StrEnum):
    """Whether a device is there."""

    LIVE = "live"
    LATE = "late"
    OFFLINE = "offline"


class Reason(StrEnum):
    """Why a device is not live."""

    NEVER = "never seen"
    CLOSED = "closed"
    SILENT = "silent"
    REPLACED = "replaced"
    SLOW = "too slow"
    REFUSED = "refused"
    GATEWAY = "gateway gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A registered ESP32.

    Attributes:
        id: Hardware id: 12 lower-case hex digits.
        name: Name for people; unique among devices.
        address: ``IP`` or ``IP:PORT`` of its own HTTP server, or ``""`` while unknown.
        room: Name of its room, or ``None``.
        group: Group it shows instead of its room's, or ``None``.
        brightness: Percent, instead of its room's, or ``None``.
        kinds: What it is.
        labels: Words for finding it.
        dialect: What it speaks on the gateway.
        token_hashes: Hashes of the tokens that are valid for it, oldest first; two or three while one is being rotated.
        registered_ms: When it was registered, ms since the epoch.
        board_token: What its HTTP server wants to see, or ``""`` for what all boards want. Kept as it is, for it must
            be shown; no view of a device tells it.
    """

    id: str
    name: str
    address: str = ""
    room: str | None = None
    group: str | None = None
    brightness: int | None = None
    kinds: tuple[Kind, ...] = (Kind.LAMP,)
    labels: tuple[str, ...] = ()
    dialect: Dialect = Dialect.V1
    token_hashes: tuple[str, ...] = ()
    registered_ms: int = 0
    board_token: str = field(default="", repr=False)

    @property
    def simulated(self) -> bool:
        """Whether it exists only as a program on this machine."""
        return SIMULATED in self.labels

    @property
    def glows(self) -> bool:
        """Whether it has a light that shows levels."""
        return Kind.LAMP in self.kinds and self.dialect not in (Dialect.RELAY, Dialect.BOARDS)

    @property
    def is_camera(self) -> bool:
        """Whether it may send pictures."""
        return Kind.CAMERA in self.kinds

    @property
    def host(self) -> str:
        """Address without its port."""
        return split_address(self.address)[0] if self.address else ""

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Device:
        """Return the device that ``to_dict`` described; unknown fields are ignored."""
        return cls(
            id=values["id"],
            name=values["name"],
            address=values.get("address", ""),
            room=values.get("room"),
            group=values.get("group"),
            brightness=values.get("brightness"),
            kinds=tuple(Kind(kind) for kind in values.get("kinds", ("lamp",))),
            labels=tuple(values.get("labels", ())),
            dialect=Dialect(values.get("dialect", "v1")),
            token_hashes=tuple(values.get("token_hashes", ())),
            registered_ms=values.get("registered_ms", 0),
            board_token=values.get("board_token", ""),
        )


def new_device(
    *,
    device_id: object,
    name: object,
    address: object = "",
    room: object = None,
    group: object = None,
    brightness: object = None,
    labels: Iterable[object] = (),
    dialect: object = Dialect.V1,
    token_hashes: Sequence[str] = (),
    registered_ms: int = 0,
) -> Device:
    """Return a checked device.

    Raises:
        InvalidError: If a value cannot be used.
    """
    try:
        spoken = Dialect(str(dialect))
    except ValueError:
        raise InvalidError(
            f"{shown(dialect)} is not a dialect: use one of {', '.join(Dialect)}", field="dialect"
        ) from None
    return Device(
        id=check_device_id(device_id),
        name=check_name(name, "device"),
        address=check_device_address(address) if address else "",
        room=None if room is None else check_name(room, "room"),
        group=None if group is None else check_name(group, "group"),
        brightness=None if brightness is None else check_whole(brightness, "brightness", *BRIGHTNESS, "percent"),
        labels=check_labels(labels),
        dialect=spoken,
        token_hashes=tuple(token_hashes),
        registered_ms=registered_ms,
    )


def check_kinds(kinds: Iterable[object]) -> tuple[Kind, ...]:
    """Return kinds of devices without doubles.

    Raises:
        InvalidError: If one is none, or there are none.
    """
    try:
        checked = tuple(dict.fromkeys(Kind(str(kind)) for kind in kinds))
    except ValueError:
        checked = ()
    if not checked:
        raise InvalidError(f"a device is one or more of {', '.join(Kind)}", field="kinds")
    return checked


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of ``IP``, ``IP:PORT``, ``IPv6`` or ``[IPv6]:PORT``; the port is 80 unless given.

    Raises:
        InvalidError: If it has another form.
    """
    host, port = address, "80"
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if rest or not bracket:
            port = rest.removeprefix(":")
    elif address.count(":") == 1:
        host, _, port = address.partition(":")
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        ip = None
    if ip is None or not _may_be_a_device(ip) or not (port.isascii() and port.isdigit()):
        raise InvalidError(f"{shown(address)} is not the address of a device: use IP or IP:PORT", field="address")
    return host, check_whole(port, "port", 1, 65_535)


def check_board_token(token: object) -> str:
    """Return a token that can stand in a header of HTTP.

    Raises:
        InvalidError: If it is not 1 to 128 printable characters of ASCII without spaces.
    """
    if isinstance(token, str) and len(token) <= 128 and _TOKEN.fullmatch(token):
        return token
    # It is not repeated: it may be right but for one character.
    raise InvalidError(
        "that cannot be the token of a board: use 1 to 128 letters, digits and signs, no spaces", field="token"
    )


def _may_be_a_device(ip: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether a device can have this address; clouds answer at some with secrets of the machine that asks."""
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None and not _SCOPE.fullmatch(ip.scope_id):
            return False
        if ip.is_loopback:
            return True
        inner = ip.sixtofour
        if any(ip in network for network in _TRANSLATED):
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
        if inner is not None:
            return _may_be_a_device(inner)
    # By number, for an address at an interface is not equal to the same address at none.
    return not (ip.is_multicast or ip.is_unspecified or (ip.version == 4 and ip.is_reserved) or int(ip) in _CLOUDS)


def check_device_address(address: object) -> str:
    """Return ``address`` without spaces around it.

    Raises:
        InvalidError: If it is not ``IP`` or ``IP:PORT``.
    """
    text = address.strip() if isinstance(address, str) else str(address)
    split_address(text)
    return text

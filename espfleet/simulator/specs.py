"""Which lamps there are: who each one is, before anything runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import blake2b

from espfleet.domain.messages import TOKEN_CHARS
from espfleet.domain.names import check_device_id, check_name, check_whole
from espfleet.errors import InvalidError

MOST_LAMPS = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LampSpec:
    """Who a simulated lamp is, and what it was told when it was provisioned.

    Attributes:
        id: Hardware id, 12 hex digits.
        name: What it calls itself until the gateway tells it its name.
        token: Its secret, or ``None`` while it is not provisioned.
        gateway_url: Gateway it was told of when it was provisioned, or ``None`` for the simulator's.
        port: Port of its HTTP server; 0 for any free one.
    """

    id: str
    name: str
    token: str | None = field(default=None, repr=False)
    gateway_url: str | None = None
    port: int = 0

    def __post_init__(self) -> None:
        check_device_id(self.id)
        check_name(self.name, "lamp")
        check_whole(self.port, "port", 0, 65_535)


def check_token(value: object) -> str:
    """Return a token that a lamp is handed.

    Raises:
        InvalidError: If it is not a text that can be one.
    """
    if not isinstance(value, str) or not 0 < len(value) <= TOKEN_CHARS or not value.isprintable():
        raise InvalidError(f"token must be a text of 1 to {TOKEN_CHARS} printable characters", field="token")
    return value


def hardware_id(number: int, seed: int = 0) -> str:
    """Return the hardware id of the simulated lamp ``number``: always the same, and never a real chip's."""
    digest = bytearray(blake2b(f"{seed}:{number}".encode(), digest_size=6).digest())
    # "Locally administered" and not multicast (IEEE 802): no manufacturer gives such an address to a chip.
    digest[0] = digest[0] & 0xFC | 0x02
    return digest.hex()


def new_lamps(count: int, *, seed: int = 0, first_port: int = 0, prefix: str = "lamp") -> list[LampSpec]:
    """Return ``count`` lamps that are not provisioned yet.

    Args:
        count: 1 to ``MOST_LAMPS``.
        seed: Another seed makes other hardware ids.
        first_port: Port of the first one's HTTP server, the others follow; 0 for any free ones.
        prefix: Their names are ``prefix-1``, ``prefix-2`` ….

    Raises:
        InvalidError: If a value cannot be used.
    """
    count = check_whole(count, "count", 1, MOST_LAMPS)
    first_port = check_whole(first_port, "first_port", 0, 65_536 - count)
    return [
        LampSpec(
            id=hardware_id(number, seed),
            name=f"{prefix}-{number}",
            port=first_port + number - 1 if first_port else 0,
        )
        for number in range(1, count + 1)
    ]

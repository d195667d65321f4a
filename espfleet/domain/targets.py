"""Targets: hosts whose latency is measured."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from espfleet.domain.names import SIMULATED, check_labels, check_name, check_whole, shown
from espfleet.errors import InvalidError

INTERVAL_MS = (10, 3_600_000)
TIMEOUT_MS = (10, 10_000)
DEFAULT_INTERVAL_MS = 1_000
DEFAULT_TIMEOUT_MS = 1_000
SPELLS = ("calm", "busy", "lossy", "dead", "mixed")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_]([A-Za-z0-9_-]{0,62})(\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62})*\.?")


class ProbeKind(StrEnum):
    """Ways of measuring."""

    ICMP = "icmp"
    TCP = "tcp"
    SIM = "sim"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """What an address text means.

    Attributes:
        kind: How the target is probed.
        host: Name or IP address; for ``sim`` the spell: calm, busy, lossy, dead or mixed.
        port: TCP port, or ``None``.
        seed: Seed of a simulated network; 0 for real ones.
    """

    kind: ProbeKind
    host: str
    port: int | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A host whose latency is measured.

    Attributes:
        name: Name for people; unique among targets.
        address: ``192.0.2.1``, ``2001:db8::1``, ``router.lan``, ``icmp://HOST``, ``tcp://HOST:PORT``,
            ``icmp://HOST:PORT`` (by TCP where ICMP is not permitted) or ``sim://SPELL?seed=N``.
        interval_ms: Time between two probes, 10 to 3,600,000.
        timeout_ms: How long an answer may take before the probe counts as lost, 10 to 10,000.
        labels: Words for finding it.
    """

    name: str
    address: str
    interval_ms: int = DEFAULT_INTERVAL_MS
    timeout_ms: int = DEFAULT_TIMEOUT_MS
    labels: tuple[str, ...] = ()

    @property
    def simulated(self) -> bool:
        """Whether it says nothing about a real network."""
        return SIMULATED in self.labels or self.address.lower().startswith("sim://")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for storing."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Target:
        """Return the target that ``to_dict`` described; unknown fields are ignored."""
        return cls(
            name=values["name"],
            address=values["address"],
            interval_ms=values.get("interval_ms", DEFAULT_INTERVAL_MS),
            timeout_ms=values.get("timeout_ms", DEFAULT_TIMEOUT_MS),
            labels=tuple(values.get("labels", ())),
        )


def new_target(
    name: object,
    address: object,
    interval_ms: object = DEFAULT_INTERVAL_MS,
    timeout_ms: object = DEFAULT_TIMEOUT_MS,
    labels: Iterable[object] = (),
) -> Target:
    """Return a checked target.

    Raises:
        InvalidError: If a value cannot be used; the text says which and what may stand there.
    """
    text = address.strip() if isinstance(address, str) else address
    parse_address(text)
    return Target(
        name=check_name(name, "target"),
        address=str(text),
        interval_ms=check_whole(interval_ms, "interval_ms", *INTERVAL_MS, "ms"),
        timeout_ms=check_whole(timeout_ms, "timeout_ms", *TIMEOUT_MS, "ms"),
        labels=check_labels(labels),
    )


def parse_address(address: object) -> Address:
    """Return what an address text means.

    Raises:
        InvalidError: If it is not an address of a known form.
    """
    if not isinstance(address, str) or not address.isprintable() or not 0 < len(address) <= 300:
        raise _bad(address)
    if "://" not in address:
        return Address(kind=ProbeKind.ICMP, host=_host(address, address))
    try:
        url = urlsplit(address)
        port = url.port
        host = url.hostname or ""
    except ValueError:
        raise _bad(address) from None
    if url.username is not None or url.path not in ("", "/") or url.fragment:
        raise _bad(address)
    if url.scheme == "sim":
        return Address(kind=ProbeKind.SIM, host=_spell(host, address), seed=_seed(url.query, address))
    if url.query or url.scheme not in ("icmp", "tcp") or port == 0:
        raise _bad(address)
    # An ICMP target may name a port too: there it is reached by TCP where ICMP is not permitted.
    if url.scheme == "tcp" and port is None:
        raise _bad(address)
    return Address(kind=ProbeKind(url.scheme), host=_host(host, address), port=port)


def _host(host: str, address: str) -> str:
    """Return ``host`` if it is an IP address of one machine, or a name."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        # What is made of digits and dots alone is a mistyped IPv4 address, never a name.
        if _HOST.fullmatch(host) and not re.fullmatch(r"[0-9.]+", host):
            return host
        raise _bad(address) from None
    if ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255":
        raise InvalidError(f"{shown(address)} is not the address of one machine", field="address")
    return host


def _spell(host: str, address: str) -> str:
    if host in SPELLS:
        return host
    raise InvalidError(
        f"{shown(address)}: a simulated target is sim:// and one of {', '.join(SPELLS)}", field="address"
    )


def _seed(query: str, address: str) -> int:
    options = dict(parse_qsl(query, keep_blank_values=True))
    if set(options) - {"seed"}:
        raise _bad(address)
    return check_whole(options.get("seed", "0"), "seed", 0, 2**31 - 1)


def _bad(address: object) -> InvalidError:
    return InvalidError(
        f"{shown(address)} is not an address: use an IP address or host name, icmp://HOST[:PORT], tcp://HOST:PORT or "
        "sim://SPELL?seed=N",
        field="address",
    )

"""From endpoints to engines: one for each way of measuring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto
from hashlib import blake2b

from espfleet.domain.samples import NOT_MEASURED
from espfleet.domain.targets import ProbeKind
from espfleet.probes.clocks import SYSTEM, Clocks
from espfleet.probes.icmp import IcmpEngine
from espfleet.probes.outcomes import Endpoint, Engine
from espfleet.probes.paced import PacedEngine
from espfleet.probes.permission import Permission
from espfleet.probes.resolve import is_ip
from espfleet.probes.silent import SilentEngine
from espfleet.probes.sim import SimEngine
from espfleet.probes.tcp import TcpEngine
from espfleet.probes.wire import Family, family_of


class Way(Enum):
    """Engine that an endpoint belongs to."""

    ICMP4 = auto()
    ICMP6 = auto()
    TCP = auto()
    SIM = auto()
    SILENT = auto()


def build_engines(
    endpoints: Sequence[Endpoint],
    interval_ms: int,
    *,
    permission: Permission,
    addresses: Mapping[str, str | None],
    origin_ns: int | None = None,
    clocks: Clocks = SYSTEM,
) -> list[tuple[Engine, list[int]]]:
    """Return engines for endpoints, and for each engine the index in ``endpoints`` of each of its slots.

    The order of slots is random to look at and depends on names alone: neighbours in a list (often neighbours in a
    network) are not probed in one burst, and a target keeps its place when others come and go.

    Args:
        endpoints: What is to be probed.
        interval_ms: Time between two probes of an endpoint.
        permission: What this process may do.
        addresses: Address of each host that is a name, ``None`` where it has none. One that is absent is still being
            looked up; it is not measured until ``readdress``.
        origin_ns: When round 0 began, monotonic; ``None`` for now. Give that of the engines that are replaced.
        clocks: Where times come from.
    """
    slots: dict[Way, list[int]] = {}
    for index in sorted(range(len(endpoints)), key=lambda index: _place(endpoints[index].name)):
        slots.setdefault(_way(endpoints[index], addresses, permission), []).append(index)
    built: list[tuple[Engine, list[int]]] = []
    for way, indices in slots.items():
        mine = [endpoints[index] for index in indices]
        ips = [_ip(endpoint, addresses) for endpoint in mine]
        engine: PacedEngine
        if way is Way.SIM:
            engine = SimEngine(mine, interval_ms, origin_ns=origin_ns, clocks=clocks)
        elif way is Way.TCP:
            engine = TcpEngine(mine, interval_ms, ips, origin_ns=origin_ns, clocks=clocks)
        elif way is Way.SILENT:
            engine = SilentEngine(mine, interval_ms, permission, origin_ns=origin_ns, clocks=clocks)
        else:
            family = Family.V4 if way is Way.ICMP4 else Family.V6
            engine = IcmpEngine(mine, interval_ms, ips, family, permission, origin_ns=origin_ns, clocks=clocks)
        for slot, endpoint in enumerate(mine):
            if _pending(endpoint, addresses):
                engine.mute(slot, NOT_MEASURED)
        built.append((engine, indices))
    return built


def readdress(
    engines: Sequence[tuple[Engine, Sequence[int]]],
    endpoints: Sequence[Endpoint],
    addresses: Mapping[str, str | None],
) -> bool:
    """Tell engines which addresses their endpoints have now.

    Returns:
        Whether all could take them over; if not (a name has changed to the other family), build them anew.
    """
    return all(
        engine.readdress(slot, _ip(endpoints[index], addresses))
        for engine, indices in engines
        for slot, index in enumerate(indices)
        if endpoints[index].address.host in addresses and endpoints[index].address.kind is not ProbeKind.SIM
    )


def hosts(endpoints: Sequence[Endpoint]) -> set[str]:
    """Return the hosts that a resolver has to know."""
    return {endpoint.address.host for endpoint in endpoints if endpoint.address.kind is not ProbeKind.SIM}


def without_icmp(endpoints: Sequence[Endpoint]) -> tuple[int, int]:
    """Return how many ICMP endpoints have a port to fall back to, and how many have none."""
    ports = [endpoint.address.port for endpoint in endpoints if endpoint.address.kind is ProbeKind.ICMP]
    return sum(port is not None for port in ports), sum(port is None for port in ports)


def _way(endpoint: Endpoint, addresses: Mapping[str, str | None], permission: Permission) -> Way:
    kind, port = endpoint.address.kind, endpoint.address.port
    if kind is ProbeKind.SIM:
        return Way.SIM
    if kind is ProbeKind.ICMP:
        # Where the address is not known, IPv4 is the better guess.
        family = family_of(_ip(endpoint, addresses) or "")
        if family in permission.icmp:
            return Way.ICMP4 if family is Family.V4 else Way.ICMP6
        if port is None:
            return Way.SILENT
    return Way.TCP


def _ip(endpoint: Endpoint, addresses: Mapping[str, str | None]) -> str | None:
    host = endpoint.address.host
    return host if is_ip(host) else addresses.get(host)


def _pending(endpoint: Endpoint, addresses: Mapping[str, str | None]) -> bool:
    host = endpoint.address.host
    return endpoint.address.kind is not ProbeKind.SIM and host not in addresses and not is_ip(host)


def _place(name: str) -> bytes:
    return blake2b(name.encode(), digest_size=8).digest()

"""A prober's engines: built for a share, kept while it stays, replaced without losing what is under way."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from espfleet.domain.registry import Registry
from espfleet.domain.targets import Target, parse_address
from espfleet.probes.engines import build_engines, hosts, readdress
from espfleet.probes.outcomes import Counters, Endpoint, Engine
from espfleet.probes.permission import Permission
from espfleet.workers.lanes import Lane, shard_views

#: A new target is not kept waiting longer than this for its first probe: the schedule of its interval begins anew.
LONG_WAIT_MS = 10_000


@dataclass
class _Bench:
    """All engines of one interval."""

    endpoints: tuple[Endpoint, ...]
    shards_of: Mapping[str, tuple[int, ...]]
    origin_ns: int
    engines: list[tuple[Engine, list[int]]]
    lanes: list[Lane]


class Rig:
    """The engines of one prober.

    Args:
        permission: What this process may send.
        shards: Number of shards of the fleet.
    """

    def __init__(self, permission: Permission, shards: int) -> None:
        self._permission = permission
        self._shards = shards
        self._benches: dict[int, _Bench] = {}
        self._retired: list[Lane] = []
        self._counted = Counters()

    @property
    def lanes(self) -> list[Lane]:
        """Lanes that probe, and lanes that still wait for answers."""
        return [*(lane for bench in self._benches.values() for lane in bench.lanes), *self._retired]

    @property
    def endpoints(self) -> list[Endpoint]:
        """Everything that is probed."""
        return [endpoint for bench in self._benches.values() for endpoint in bench.endpoints]

    def hosts(self) -> set[str]:
        """Return the hosts whose addresses are needed."""
        return hosts(self.endpoints)

    def counters(self) -> Counters:
        """Return what all engines did so far."""
        total = self._counted
        for lane in self.lanes:
            total = total.with_more(lane.engine.counters())
        return total

    def set_share(self, share: Sequence[Target], registry: Registry, addresses: Mapping[str, str | None]) -> bool:
        """Probe exactly these targets from now on; return whether anything changed.

        Engines whose targets stay go on undisturbed; others are replaced on the same schedule.
        """
        wanted: dict[int, list[Target]] = {}
        for target in share:
            wanted.setdefault(target.interval_ms, []).append(target)
        changed = False
        for interval_ms in set(self._benches) | set(wanted):
            members = wanted.get(interval_ms, [])
            endpoints = tuple(_endpoint(target) for target in members)
            shards_of = {target.name: registry.shards_of_target(target.name, self._shards) for target in members}
            known = self._benches.get(interval_ms)
            if known is None or (known.endpoints, known.shards_of) != (endpoints, shards_of):
                self._replace(interval_ms, endpoints, shards_of, addresses)
                changed = True
        return changed

    def set_addresses(self, addresses: Mapping[str, str | None]) -> bool:
        """Probe names at these addresses from now on; return whether engines were built anew."""
        moved = [
            interval_ms
            for interval_ms, bench in self._benches.items()
            if not readdress(bench.engines, bench.endpoints, addresses)
        ]
        for interval_ms in moved:
            bench = self._benches[interval_ms]
            self._replace(interval_ms, bench.endpoints, bench.shards_of, addresses)
        return bool(moved)

    def _replace(
        self,
        interval_ms: int,
        endpoints: tuple[Endpoint, ...],
        shards_of: Mapping[str, tuple[int, ...]],
        addresses: Mapping[str, str | None],
    ) -> None:
        old = self._benches.pop(interval_ms, None)
        for lane in old.lanes if old else ():
            lane.engine.retire()
            self._retired.append(lane)
        if not endpoints:
            return
        origin_ns = old.origin_ns if old and not _keeps_waiting(old, endpoints, interval_ms) else time.monotonic_ns()
        engines = build_engines(
            endpoints, interval_ms, permission=self._permission, addresses=addresses, origin_ns=origin_ns
        )
        lanes = [
            Lane(engine, shard_views([endpoints[index] for index in indices], interval_ms, shards_of))
            for engine, indices in engines
        ]
        self._benches[interval_ms] = _Bench(endpoints, shards_of, origin_ns, engines, lanes)

    def finished(self) -> Iterator[Lane]:
        """Yield the replaced lanes that wait for nothing more, and close them."""
        for lane in [lane for lane in self._retired if not lane.engine.outstanding]:
            yield lane
            self._counted = self._counted.with_more(lane.engine.counters())
            self._retired.remove(lane)
            lane.engine.close()

    def close(self) -> None:
        """Give back all sockets."""
        for lane in self.lanes:
            lane.engine.close()
        self._benches.clear()
        self._retired.clear()


def _keeps_waiting(old: _Bench, endpoints: Sequence[Endpoint], interval_ms: int) -> bool:
    """Tell whether a newcomer would wait long for its first probe if the old schedule went on."""
    if interval_ms <= LONG_WAIT_MS:
        return False
    return not {endpoint.name for endpoint in endpoints} <= {endpoint.name for endpoint in old.endpoints}


def _endpoint(target: Target) -> Endpoint:
    return Endpoint(name=target.name, address=parse_address(target.address), timeout_ms=target.timeout_ms)

"""How tests build engines and drive them as a worker does: sleep until the next tick or a readable descriptor."""

from __future__ import annotations

import select
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from espfleet.domain.targets import parse_address
from espfleet.probes.engines import build_engines
from espfleet.probes.outcomes import Endpoint, Engine, Round
from espfleet.probes.permission import Permission, find_out

Samples = dict[tuple[int, int], float]


def endpoint(address: str, timeout_ms: int = 500, name: str = "") -> Endpoint:
    return Endpoint(name or address, parse_address(address), timeout_ms)


class Driven:
    """Engines of some addresses, their endpoints in order, and the samples they have brought back."""

    def __init__(
        self,
        *addresses: str,
        interval_ms: int = 250,
        timeout_ms: int = 500,
        names: Mapping[str, str | None] | None = None,
        permission: Permission | None = None,
        batches: bool = True,
    ) -> None:
        self.endpoints = [endpoint(address, timeout_ms, name=f"t{number}") for number, address in enumerate(addresses)]
        self.engines = build_engines(
            self.endpoints,
            interval_ms,
            permission=permission or replace(find_out(), batches=batches),
            addresses=names or {},
        )
        self.rounds: list[tuple[Engine, Round]] = []
        #: (round, index of the endpoint) → sample
        self.samples: Samples = {}

    def __enter__(self) -> Driven:
        return self

    def __exit__(self, *_: object) -> None:
        for engine, _indices in self.engines:
            engine.close()

    @property
    def engine(self) -> Engine:
        """The only engine."""
        ((engine, _indices),) = self.engines
        return engine

    def slot(self, index: int) -> tuple[Engine, int]:
        """Return where the endpoint with this index is probed."""
        return next((engine, indices.index(index)) for engine, indices in self.engines if index in indices)

    def of(self, index: int) -> list[float]:
        """Return the samples of an endpoint, by round."""
        return [value for (_, other), value in sorted(self.samples.items()) if other == index]

    def tick(self) -> None:
        """Tick all engines once."""
        now_ns = time.monotonic_ns()
        for engine, indices in self.engines:
            for found in engine.tick(now_ns):
                assert (found.slots[1:] > found.slots[:-1]).all(), "slots must rise"
                self.rounds.append((engine, found))
                for slot, value in zip(found.slots.tolist(), found.rtt_us.tolist(), strict=True):
                    key = found.number, indices[slot]
                    assert key not in self.samples, f"{key} was reported twice"
                    self.samples[key] = value

    def until(self, done: Callable[[], object], timeout_s: float = 30.0) -> None:
        """Drive the engines until something is true."""
        end = time.monotonic() + timeout_s
        while not done():
            assert time.monotonic() < end, (
                f"not within {timeout_s:g} s; {[engine.counters() for engine, _ in self.engines]}"
            )
            self.tick()
            now_ns = time.monotonic_ns()
            next_ns = min(engine.next_tick_ns(now_ns) for engine, _ in self.engines)
            descriptors = [fd for engine, _ in self.engines for fd in engine.filenos()]
            _wait(descriptors, min(max(0.0, (next_ns - now_ns) / 1e9), 0.1))

    def rounds_of_each(self, count: int, timeout_s: float = 30.0) -> None:
        """Drive the engines until each endpoint has that many samples."""
        self.until(lambda: all(len(self.of(index)) >= count for index in range(len(self.endpoints))), timeout_s)

    def for_s(self, seconds: float) -> None:
        """Drive the engines for a while."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() >= end, seconds + 5)


def _wait(descriptors: list[int], timeout_s: float) -> None:
    poll = select.poll()
    for descriptor in descriptors:
        poll.register(descriptor, select.POLLIN)
    poll.poll(timeout_s * 1_000)

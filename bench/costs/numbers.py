"""Where the CPU of a keepalive with numbers in it goes: ``python -m bench.costs.numbers``.

Its parts are run by themselves, one after the other and without a network: the connections of a gateway's lamps are
handed frames, and what these said is stored in a Redis of its own and told to whoever listens, who is nobody. The
median of several rounds is shown. What all of it comes to in a gateway that serves is ``gateway_report``:
``bench.costs.gateways`` measures that.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from bench.costs.gateways import FULL, a_fleet
from bench.costs.meters import info
from bench.gateway import cpu_s, masked
from espfleet.domain.devices import Device
from espfleet.domain.messages import KEEPALIVE, parse
from espfleet.gateway.connection import Connection
from espfleet.gateway.dialects.v1 import V1
from espfleet.gateway.passes import Pass
from espfleet.gateway.server import Gateway, GatewaySettings
from espfleet.store import readings

LAMPS = 1_000
#: Ten seconds between two: of six one begins a minute, and what it tells is kept for a day.
ROUNDS, EVERY_MS, BEGIN_MS = 12, 10_000, 1_790_000_040_000


class Nowhere(asyncio.Transport):
    """A transport to nobody."""

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Throw away."""

    def get_write_buffer_size(self) -> int:
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: nothing ever waits."""

    def can_write_eof(self) -> bool:
        return False


class Rounds:
    """CPU of the parts, µs for one message, of each round.

    Attributes:
        ours: Of this process.
        redis: Of Redis.
    """

    def __init__(self, redis_pid: int) -> None:
        self.ours: dict[str, list[float]] = defaultdict(list)
        self.redis: dict[str, list[float]] = defaultdict(list)
        self._pid = redis_pid

    @asynccontextmanager
    async def part(self, name: str) -> AsyncIterator[None]:
        """Count what is done meanwhile."""
        redis_s, begun_s = cpu_s(self._pid), time.process_time()
        yield
        self.ours[name].append((time.process_time() - begun_s) / LAMPS * 1e6)
        self.redis[name].append((cpu_s(self._pid) - redis_s) / LAMPS * 1e6)


def main() -> None:
    """Measure and print."""
    rounds = asyncio.run(measure())
    print(f"CPU of a message, µs: median and range of {ROUNDS} rounds of {LAMPS:,}\n")
    print(f"{'':44}{'gateway':>20}{'Redis':>20}")
    for name in rounds.ours:
        print(f"{name:44}{in_words(rounds.ours[name]):>20}{in_words(rounds.redis[name]):>20}")


def in_words(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})"


async def measure() -> Rounds:
    """Run all parts in turn, several times."""
    full = json.dumps(FULL, separators=(",", ":"))
    frames = {"a bare keepalive, taken": masked(KEEPALIVE), "one with numbers, taken": masked(full)}
    async with a_fleet() as (store, _):
        rounds = Rounds((await info(store))["process_id"])
        gateway = Gateway(store, GatewaySettings(port=0))
        lamps = [lamp_of(gateway, number) for number in range(LAMPS)]
        for number in range(ROUNDS):
            gateway._hub.now_ms = partial(int, BEGIN_MS + number * EVERY_MS)
            for name, frame in frames.items():
                async with rounds.part(name):
                    for lamp in lamps:
                        lamp.data_received(frame)
                for lamp in lamps:
                    lamp.taken = lamp.taken_bytes = 0
            async with rounds.part("  of that its text, read and checked"):
                for _ in lamps:
                    parse(full)
            async with rounds.part("numbers, stored"):
                await gateway._gathering.flush()
            told, gateway._gathering._news = gateway._gathering._news, {}
            assert len(told) == LAMPS, "some were not stored"
            async with rounds.part("numbers, told to those who listen"):
                await readings.tell(store, told)
    return rounds


def lamp_of(gateway: Gateway, number: int) -> Connection:
    """Return the connection of a lamp that the gateway has let in."""
    lamp = Connection(gateway._admission)
    lamp.connection_made(Nowhere())
    device = Device(id=f"02be{number:08x}", name=f"bench-{number}")
    gateway._hub.admit(lamp, Pass(device, V1(GatewaySettings(port=0)), None))
    assert lamp.peer is not None
    return lamp


if __name__ == "__main__":
    main()

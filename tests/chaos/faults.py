"""What is broken, for how long, and how it is mended."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.world import PIN, Worker, World

HOLD_S = (1.0, 6.0)
#: A share of what lamps send; any byte of it may be another one.
CORRUPTED = 0.02
SLOW_S = (0.05, 0.25)
#: A lamp whose words make no sense is sent away for a minute.
SENT_AWAY_S = 60.0
#: An amount of memory that Redis has used up: from then on it refuses every write.
FULL_BYTES = 1


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong: ``begin`` and, after ``hold_s``, ``end``; lamps may need ``patience_s`` more."""

    name: str
    hold_s: float
    begin: Callable[[], Awaitable[None]]
    end: Callable[[], Awaitable[None]]
    patience_s: float = 0.0


async def _nothing() -> None:
    pass


def choose(world: World, random: Random) -> Fault:
    """Return one fault by chance."""
    make = random.choice([_kill, _kill, _freeze, _freeze, _redis, _redis, _lamps, _lamps, _back, _board, _fill])
    return make(world, random)


def _worker(world: World, random: Random, spare_first: bool) -> Worker:
    # The first of each kind is never killed, so that its memory can be followed for as long as the run lasts.
    return random.choice([worker for worker in world.workers if worker.number or not spare_first])


def _kill(world: World, random: Random) -> Fault:
    worker = _worker(world, random, spare_first=True)

    async def begin() -> None:
        worker.signal(signal.SIGKILL)

    return Fault(f"kill -9 {worker.name}", 1.0, begin, _nothing)


def _freeze(world: World, random: Random) -> Fault:
    worker = _worker(world, random, spare_first=False)

    async def begin() -> None:
        worker.frozen = True
        worker.signal(signal.SIGSTOP)

    async def end() -> None:
        worker.signal(signal.SIGCONT)
        worker.frozen = False

    return Fault(f"freeze {worker.name}", random.uniform(*HOLD_S), begin, end)


def _redis(world: World, random: Random) -> Fault:
    async def kill() -> None:
        world.kill_redis()

    async def stop() -> None:
        world.stop_redis()

    async def go_on() -> None:
        world.go_on_redis()

    if random.random() < 0.5:
        return Fault("kill -9 redis", random.uniform(0.5, 3.0), kill, world.revive_redis)
    return Fault("freeze redis", random.uniform(*HOLD_S), stop, go_on)


def _lamps(world: World, random: Random) -> Fault:
    number = random.randrange(len(world.fronts))
    front, hold_s, delay_s = world.fronts[number], random.uniform(*HOLD_S), random.uniform(*SLOW_S)

    async def hold() -> None:
        front.hold()

    async def slow() -> None:
        front.slow(delay_s)

    async def corrupt() -> None:
        front.corrupt(CORRUPTED)

    async def heal() -> None:
        front.heal()

    kinds: dict[str, Callable[[], Awaitable[None]]] = {"cut": front.cut, "hold": hold, "slow": slow, "corrupt": corrupt}
    kind = random.choice(sorted(kinds))
    patience_s = SENT_AWAY_S if kind == "corrupt" else 0.0
    return Fault(f"{kind} the link of every third lamp ({number})", hold_s, kinds[kind], heal, patience_s)


def _back(world: World, random: Random) -> Fault:
    name = random.choice(["back", "side"])
    proxy = world.back if name == "back" else world.side
    delay_s = random.uniform(*SLOW_S)

    async def hold() -> None:
        proxy.hold()

    async def slow() -> None:
        proxy.slow(delay_s)

    async def heal() -> None:
        proxy.heal()

    kinds: dict[str, Callable[[], Awaitable[None]]] = {"cut": proxy.cut, "hold": hold, "slow": slow}
    kind = random.choice(sorted(kinds))
    whose = "the gateways" if name == "back" else "probers, levelers and stewards"
    return Fault(f"{kind} the way of {whose} to redis", random.uniform(*HOLD_S), kinds[kind], heal)


def _board(world: World, _: Random) -> Fault:
    async def begin() -> None:
        world.board.electronics.reset()
        assert not world.board.electronics.pins[PIN]

    return Fault("reset the board", 0.5, begin, _nothing)


def _fill(world: World, random: Random) -> Fault:
    async def begin() -> None:
        await world.direct.do("CONFIG", "SET", "maxmemory", FULL_BYTES)

    async def end() -> None:
        await asyncio.wait_for(world.direct.do("CONFIG", "SET", "maxmemory", 0), 10)

    return Fault("fill redis", random.uniform(*HOLD_S), begin, end)

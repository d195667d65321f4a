"""What is broken, for how long, and how it is mended."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from tests.chaos.clocks import LOOK_S, Clock
from tests.chaos.world import PIN, Worker, World

HOLD_S = (1.0, 6.0)
#: A share of what lamps send; any byte of it may be another one.
CORRUPTED = 0.02
SLOW_S = (0.05, 0.25)
#: A lamp whose words make no sense again and again is sent away for longer each time; one whose token was broken on its
#: way, as what only a person can mend: for a minute at most.
SENT_AWAY_S = 60.0
#: How far clocks are set: minutes to hours. The whole machine's less far, for metrics that it stamps then must not be
#: too far from the truth for Datadog.
STEP_S = (60.0, 3 * 3_600.0)
STEP_ALL_S = (60.0, 480.0)
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


class Deck:
    """Deals faults by chance, but none a second time before each kind has come."""

    def __init__(self, world: World, random: Random) -> None:
        self._world = world
        self._random = random
        self._kinds = [_kill, _kill, _freeze, _freeze, _lamps, _lamps, _board]
        if world.servers is None:
            self._kinds += [_redis_dies, _redis_stalls, _back, _fill]
            steps = [_step_worker, _step_redis, _step_all]
        else:
            self._kinds += [_primary_dies, _primary_dies, _primary_asked, _primary_asked]
            steps = [_step_worker, _step_server]
        self._kinds += steps if world.redis_clock.environ else []
        self._left: list[Callable[[World, Random], Fault]] = []

    def deal(self) -> Fault:
        """Return the next fault."""
        if not self._left:
            self._left = self._random.sample(self._kinds, len(self._kinds))
        return self._left.pop()(self._world, self._random)


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


def _redis_dies(world: World, random: Random) -> Fault:
    async def kill() -> None:
        world.kill_redis()

    return Fault("kill -9 redis", random.uniform(0.5, 3.0), kill, world.revive_redis)


def _redis_stalls(world: World, random: Random) -> Fault:
    async def stop() -> None:
        world.stop_redis()

    async def go_on() -> None:
        world.go_on_redis()

    return Fault("freeze redis", random.uniform(*HOLD_S), stop, go_on)


def _step_worker(world: World, random: Random) -> Fault:
    worker = _worker(world, random, spare_first=False)
    return _step(worker.name, [worker.clock], random, STEP_S)


def _step_redis(world: World, random: Random) -> Fault:
    return _step("redis", [world.redis_clock], random, STEP_S)


def _step_server(world: World, random: Random) -> Fault:
    assert world.servers is not None
    return _step("a server of redis", [random.choice(world.servers.clocks)], random, STEP_S)


def _step_all(world: World, random: Random) -> Fault:
    return _step("the machine", [world.redis_clock, *(worker.clock for worker in world.workers)], random, STEP_ALL_S)


def _step(whose: str, clocks: list[Clock], random: Random, least_and_most_s: tuple[float, float]) -> Fault:
    """Set clocks wrong, and right again as time servers do."""
    offset_s = random.choice([-1, 1]) * random.uniform(*least_and_most_s)

    async def begin() -> None:
        for clock in clocks:
            clock.set(offset_s)

    async def end() -> None:
        for clock in clocks:
            clock.set(0.0)
        # Until then they do not all know.
        await asyncio.sleep(LOOK_S)

    hold_s = LOOK_S + random.uniform(*HOLD_S)
    return Fault(f"step the clock of {whose} by {offset_s / 60:+.1f} min", hold_s, begin, end)


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


def _primary_dies(world: World, random: Random) -> Fault:
    mends: list[Callable[[], Awaitable[None]]] = []
    assert world.servers is not None
    servers = world.servers

    async def begin() -> None:
        await servers.until_in_sync()
        world.redis_down = True
        mends.append(await servers.kill(random))
        world.kills_s.append(time.monotonic())

    async def end() -> None:
        await mends.pop()()
        world.redis_down = False

    return Fault(f"kill -9 a primary of the {world.on}", random.uniform(0.5, 3.0), begin, end)


def _primary_asked(world: World, random: Random) -> Fault:
    assert world.servers is not None
    servers = world.servers

    async def begin() -> None:
        await servers.until_in_sync()
        await servers.ask(random)

    return Fault(f"ask a primary of the {world.on} to hand over", 0.5, begin, _nothing)

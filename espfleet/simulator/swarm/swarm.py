"""The lamps of a load test: whom the script acts on, and the clock that wakes them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b
from random import Random

from websockets.uri import parse_uri

from espfleet.domain.tokens import TOKEN_BYTES, new_token
from espfleet.errors import InvalidError
from espfleet.simulator.session import READINGS_MS, Clock, lamp_url, monotonic_ms
from espfleet.simulator.specs import hardware_id
from espfleet.simulator.speech import Level
from espfleet.simulator.swarm.figures import Figures
from espfleet.simulator.swarm.frames import keepalives
from espfleet.simulator.swarm.lamp import SmallLamp
from espfleet.simulator.swarm.states import Elsewhere, Glow, Part, Stage
from espfleet.simulator.swarm.wheel import TICK_MS, Wheel
from espfleet.simulator.swarm.wires import Wires, allow_files, find

#: Lamps woken in one turn of the loop, so that what comes is read meanwhile.
_A_TURN = 256
#: Different levels that are remembered: a gateway makes one of each group for all its lamps.
_REMEMBERED = 512
_MASKS = 64
#: Seeds of hardware ids from here on are no other simulated lamps': those are below.
_SEEDS = 2**32
_LOOK_S = 0.05

quiet = logging.getLogger(__name__)
# websockets logs each handshake.
quiet.setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Share:
    """Which lamps of a test this process runs: one of each ``of``.

    Attributes:
        number: Which one of the processes, from 0.
        of: How many there are; 0 for a process that runs no lamp.
    """

    number: int = 0
    of: int = 1

    def has(self, lamp: int) -> bool:
        """Tell whether a lamp belongs to it."""
        return self.of > 0 and lamp % self.of == self.number


class Who:
    """Who the lamps of a test are: nothing about them has to be kept but tokens that were handed to them.

    Args:
        count: How many.
        seed: Another seed makes other hardware ids.
        first: Number of the first.
        secret: What tokens are made from, 32 bytes, for processes that run lamps of the same test.
    """

    def __init__(self, count: int, *, seed: int = 1, first: int = 1, secret: bytes | None = None) -> None:
        self.count = count
        self.seed = seed
        self.first = first
        self.secret = secret or secrets.token_bytes(TOKEN_BYTES)
        self._handed: dict[int, str] = {}

    def name_of(self, number: int) -> str:
        """Return the name of a lamp, counted from 0, such as ``sim-00001``."""
        return f"sim-{self.first + number:05d}"

    def id_of(self, number: int) -> str:
        """Return its hardware id."""
        return hardware_id(self.first + number, _SEEDS + self.seed)

    def token_of(self, number: int) -> str:
        """Return its token: the one that it was handed last, or one as good as random, another in each process."""
        handed = self._handed.get(number)
        return handed or new_token(blake2b(b"%d" % number, key=self.secret, digest_size=TOKEN_BYTES).digest())

    def hand(self, number: int, token: str) -> None:
        """Give a lamp another token."""
        self._handed[number] = token


class Swarm:
    """Lamps on one gateway, or those of them that this process runs.

    Args:
        who: Who they are.
        gateway_url: ``ws://HOST:PORT`` of the gateway.
        tls: How to check its certificate, for ``wss``.
        share: Which of them run here; the script chooses among all.
        clock: Now, in ms, on a clock that never jumps.
        spare: Connections that all of them need beside one each.

    Raises:
        InvalidError: If the URL is not a gateway's.
        StartError: If the gateway cannot be found, or there may not be so many connections.

    Attributes:
        lamps: Those that run here.
        levels: What the frames mean that came last, with when they were sent.
        figures: What happened since somebody looked.
        gateway_is_here: Whether the gateway runs on this machine, so that its times can be compared.
    """

    def __init__(
        self,
        who: Who,
        gateway_url: str,
        *,
        tls: ssl.SSLContext | None = None,
        share: Share = Share(),
        clock: Clock = monotonic_ms,
        spare: int = 0,
    ) -> None:
        url = lamp_url(gateway_url)
        if url.startswith("wss:") and tls is None:
            raise InvalidError("wss needs to know whom to trust", field="gateway")
        count = sum(map(share.has, range(who.count)))
        allow_files(count + min(count, spare))
        self.who = who
        self.now_ms = clock
        self.started_ms = clock()
        self.random = Random(f"{who.seed} {share.number}")
        self.readings_ms = READINGS_MS
        self.quiet = quiet
        self.uri = parse_uri(url)
        place = find(url, who.count)
        self.gateway_is_here = place.is_here
        self.figures = Figures(place.is_here)
        self.wires = Wires(place, tls if url.startswith("wss:") else None)
        self.wheel = Wheel(self.started_ms)
        self.levels: dict[bytes, tuple[Level, float]] = {}
        self._all = [
            SmallLamp(self, number, self.random) if share.has(number) else Elsewhere(number)
            for number in range(who.count)
        ]
        self.lamps = [lamp for lamp in self._all if isinstance(lamp, SmallLamp)]
        self.id_of, self.token_of = who.id_of, who.token_of
        #: Whom the script chooses must not depend on what the network does, and be the same in each process.
        self._choosing = Random(f"{who.seed} script")
        self._keepalives = keepalives(_MASKS)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.Handle = self._loop.call_soon(self._turn)

    def choose(self, count: int | None, *parts: Part) -> list[SmallLamp | Elsewhere]:
        """Return ``count`` lamps of these parts, or with ``None`` all; fewer where there are not so many.

        Those that are awaited come in the order of their numbers.
        """
        found = [lamp for lamp in self._all if lamp.part in parts]
        if count is None or count >= len(found):
            return found
        return found[:count] if parts == (Part.AWAITED,) else self._choosing.sample(found, count)

    def connected(self) -> int:
        """Return how many lamps have been welcomed and are still connected."""
        return sum(lamp.stage is Stage.LIVE for lamp in self.lamps)

    def glows(self) -> Counter[Glow]:
        """Return how many lamps show what."""
        now_ms = self.now_ms()
        return Counter(lamp.glow(now_ms) for lamp in self.lamps)

    def remember(self, content: bytes, data: bytes, level: tuple[Level, float]) -> None:
        """Note what a frame means: ``content`` of ``data``, which may hold other frames too."""
        if len(self.levels) >= _REMEMBERED:
            self.levels.clear()
        self.levels[content] = level
        if data.endswith(content) and len(data) - len(content) in (2, 4):
            self.levels[data] = level

    def keepalive(self) -> bytes:
        """Return a frame with the usual keepalive."""
        return self._keepalives[self.random.getrandbits(6)]

    async def goodbye(self, over_s: float = 1.0) -> None:
        """Let all lamps say goodbye, and close everything."""
        present = [lamp for lamp in self.lamps if lamp.stage is not Stage.AWAY]
        for start in range(0, len(present), _A_TURN):
            for lamp in present[start : start + _A_TURN]:
                lamp.leave()
            await asyncio.sleep(0)
        for _ in range(round(over_s / _LOOK_S)):
            if not self.wires.wires:
                break
            await asyncio.sleep(_LOOK_S)

    def close(self) -> None:
        """Close everything at once."""
        self._timer.cancel()
        for lamp in self.lamps:
            lamp.end()
        self.wires.close()

    def _turn(self) -> None:
        if self.wheel.turn(self.now_ms(), _A_TURN):
            self._timer = self._loop.call_soon(self._turn)
        else:
            self._timer = self._loop.call_later(TICK_MS / 1_000, self._turn)

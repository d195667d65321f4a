"""One of several processes of ``simulate --lamps``: it runs its share of the lamps.

It is told by lines on stdin what to do, and answers by lines of JSON: first its ``Order``, answered by nothing or by
the reason why that is impossible; ``begin S``, the time at which the script begins, on the clock that all processes of
a machine share; ``look``, answered by what it sees. When the lines end, its lamps say goodbye.
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from espfleet import logs
from espfleet.cli.encryption import lamp_side
from espfleet.cli.opening import gateway_url, settings
from espfleet.errors import FleetError
from espfleet.simulator.swarm import script
from espfleet.simulator.swarm.play import play
from espfleet.simulator.swarm.script import Step
from espfleet.simulator.swarm.sight import Sight
from espfleet.simulator.swarm.swarm import Share, Swarm, Who

BEGIN = "begin"
LOOK = "look"
ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a process is to run; the settings it reads by itself.

    Attributes:
        lamps, seed, first, secret: Of ``Who``; the secret in hex digits.
        script: Lines of it.
        ca: File with the authorities to trust, or ``""``.
        share, of: Of ``Share``.
    """

    lamps: int
    seed: int
    first: int
    secret: str
    script: str
    ca: str
    share: int
    of: int

    def swarm(self) -> Swarm:
        """Return the lamps that are meant.

        Raises:
            FleetError: If they cannot be run here.
        """
        given = settings()
        logs.set_up("simulate", given.log_level)
        trust = lamp_side(given, self.ca)
        who = Who(self.lamps, seed=self.seed, first=self.first, secret=bytes.fromhex(self.secret))
        spare = script.most_returning(self.steps(), self.lamps)
        share = Share(self.share, self.of)
        return Swarm(who, gateway_url(given), tls=trust.context if trust else None, share=share, spare=spare)

    def steps(self) -> list[Step]:
        """Return the script."""
        return script.read(self.script, self.lamps)


async def serve() -> None:
    """Do what is said on stdin until it ends."""
    loop, told = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(told), sys.stdin)
    order = Order(**json.loads(await told.readline()))
    try:
        swarm = order.swarm()
    except FleetError as exc:
        _answer({ERROR: str(exc)})
        return
    gc.collect()
    gc.freeze()
    _answer({})
    playing: asyncio.Task[None] | None = None
    try:
        async for line in told:
            word, *rest = line.decode().split()
            if word == BEGIN:
                playing = loop.create_task(play(order.steps(), swarm, _others_move, _others_tell, float(rest[0])))
            elif word == LOOK:
                _answer(Sight.of(swarm).to_dict())
    finally:
        if playing is not None:
            playing.cancel()
        await swarm.goodbye()
        swarm.close()


async def _others_move(_ids: Sequence[str], _room: str) -> None:
    """Do nothing: who gave the order moves lamps."""


def _others_tell(_step: Step, _lamps: int) -> None:
    """Do nothing: who gave the order tells of steps."""


def _answer(values: Mapping[str, Any]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(serve())

"""Plays the script of a load test on a swarm."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from espfleet.simulator.swarm.lamp import SmallLamp
from espfleet.simulator.swarm.script import Step, Verb
from espfleet.simulator.swarm.states import Elsewhere, Part
from espfleet.simulator.swarm.swarm import Swarm
from espfleet.simulator.swarm.wheel import TICK_MS

#: Puts lamps, by their hardware ids, into a room; may fail, and then says why.
Move = Callable[[Sequence[str], str], Awaitable[None]]
#: Is told of each step: which, and for how many lamps.
Tell = Callable[[Step, int], None]
#: Whom a step concerns, and what it makes of them.
_WHOM: Mapping[Verb, tuple[Part, ...]] = {
    Verb.ARRIVE: (Part.AWAITED,),
    Verb.MOVE: (Part.THERE, Part.FROZEN),
    Verb.DIE: (Part.THERE, Part.FROZEN),
    Verb.LEAVE: (Part.THERE,),
    Verb.RETURN: (Part.DEAD, Part.LEFT),
    Verb.FREEZE: (Part.THERE,),
    Verb.THAW: (Part.FROZEN,),
}
_MAKES: Mapping[Verb, tuple[Part, Callable[[SmallLamp], None]]] = {
    Verb.ARRIVE: (Part.THERE, SmallLamp.arrive),
    Verb.DIE: (Part.DEAD, SmallLamp.die),
    Verb.LEAVE: (Part.LEFT, SmallLamp.leave),
    Verb.RETURN: (Part.THERE, SmallLamp.arrive),
    Verb.FREEZE: (Part.FROZEN, SmallLamp.freeze),
    Verb.THAW: (Part.THERE, SmallLamp.thaw),
}


async def play(steps: Sequence[Step], swarm: Swarm, move: Move, tell: Tell, began_s: float | None = None) -> None:
    """Play a script until it ends; one that does not say so goes on until cancelled.

    Args:
        steps: In the order of their times.
        swarm: Whom they act on.
        move: Moves lamps.
        tell: Is told of each step as it begins.
        began_s: When the script begins or has begun, on the loop's clock; now if it is not given.

    Raises:
        FleetError: As ``move`` does.
    """
    loop = asyncio.get_running_loop()
    began_s, at = loop.time() if began_s is None else began_s, 0
    async with asyncio.TaskGroup() as under_way:
        acting: list[asyncio.Task[None]] = []
        while at < len(steps):
            step = steps[at]
            at += 1
            await asyncio.sleep(max(began_s + step.at_s - loop.time(), 0))
            if step.verb is Verb.LOOP:
                tell(step, 0)
                began_s += step.at_s - step.from_s
                at = next(index for index, other in enumerate(steps) if other.at_s >= step.from_s)
            elif step.verb is Verb.END:
                tell(step, 0)
                for action in acting:
                    action.cancel()
                return
            else:
                chosen = swarm.choose(step.count, *_WHOM[step.verb])
                tell(step, len(chosen))
                acting = [action for action in acting if not action.done()]
                if step.verb is Verb.MOVE:
                    ids = [swarm.id_of(lamp.number) for lamp in chosen]
                    acting.append(under_way.create_task(_awaited(move(ids, step.room))))
                else:
                    acting.append(under_way.create_task(_act(step, chosen)))
        await asyncio.Event().wait()


async def _awaited(work: Awaitable[None]) -> None:
    await work


async def _act(step: Step, chosen: Sequence[SmallLamp | Elsewhere]) -> None:
    """Do to each lamp that runs here what a step says, each in its turn, unless a later step has decided otherwise."""
    part, do = _MAKES[step.verb]
    for lamp in chosen:
        lamp.part = part
    loop = asyncio.get_running_loop()
    began_s, each_s = loop.time(), step.over_s / max(len(chosen), 1)
    mine = [(turn, lamp) for turn, lamp in enumerate(chosen) if isinstance(lamp, SmallLamp)]
    for done, (turn, lamp) in enumerate(mine, 1):
        early_s = began_s + turn * each_s - loop.time()
        if early_s > 0:
            await asyncio.sleep(max(early_s, TICK_MS / 1_000))
        elif done % 64 == 0:
            await asyncio.sleep(0)
        if lamp.part is part:
            do(lamp)

"""Looking at a load test once a second, and telling what is seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from espfleet.cli import output, swarm_words
from espfleet.cli.swarm_children import Children
from espfleet.simulator.swarm.figures import Figures
from espfleet.simulator.swarm.script import Step
from espfleet.simulator.swarm.sight import Sight
from espfleet.simulator.swarm.swarm import Swarm

#: Several processes begin together, so long after they are told to.
_LEAD_S = 0.1


class SwarmWatch:
    """Looks at all lamps of a test.

    Args:
        swarm: Those of this process.
        others: Processes that run more of them.
    """

    def __init__(self, swarm: Swarm, others: Children) -> None:
        self._swarm = swarm
        self._others = others
        self._began_s = self._looked_s = 0.0
        self._first_used_s: Sequence[float] = ()
        self._used_s: Sequence[float] = ()
        self._all = Figures(same_clock=True)
        self._looking: asyncio.Task[Sight] | None = None
        self._rows = 0
        self._full_s: float | None = None

    async def begin(self) -> float:
        """Let the script begin in all processes; return when, on the clock of ``time.monotonic``."""
        self._first_used_s = self._used_s = (await self._look()).used_s
        self._began_s = self._looked_s = time.monotonic() + (_LEAD_S if self._others else 0.0)
        await self._others.begin(self._began_s)
        return self._began_s

    async def run(self) -> None:
        """Tell each second how it goes, until cancelled."""
        while True:
            # On whole seconds of the test, however long a look takes.
            await asyncio.sleep(1.0 - (time.monotonic() - self._began_s) % 1.0)
            self._looking = asyncio.create_task(self._look(), name="look")
            # What others have told is not to be lost when the test ends meanwhile.
            sight = await asyncio.shield(self._looking)
            now_s = time.monotonic()
            at_s, busy = now_s - self._began_s, _busiest(sight.used_s, self._used_s, now_s - self._looked_s)
            self._looked_s, self._used_s = now_s, sight.used_s
            if self._full_s is None and sight.connected == self._swarm.who.count:
                self._full_s = at_s
            report = sight.figures.report(at_s=at_s, connected=sight.connected, glows=sight.glows, busy=busy)
            swarm_words.show_second(report, self._rows)
            self._rows += 1

    def tell(self, step: Step, lamps: int) -> None:
        """Tell that a step of the script begins."""
        at_s = time.monotonic() - self._began_s
        if output.for_programs():
            swarm_words.line({"kind": "step", "at_s": round(at_s, 1), "line": step.line, "lamps": lamps})
        else:
            fewer = "" if step.count in (None, lamps) else f" ({lamps} there are)"
            swarm_words.say(f"{step.line}{fewer}")

    async def end(self) -> None:
        """Tell how it was."""
        if self._looking is not None:
            await self._looking
        sight = await self._look()
        at_s = time.monotonic() - self._began_s
        busy = _busiest(sight.used_s, self._first_used_s, at_s)
        report = self._all.report(at_s=at_s, connected=sight.connected, glows=sight.glows, busy=busy)
        swarm_words.show_end(
            report,
            self._all.endings,
            lamps=self._swarm.who.count,
            full_s=self._full_s,
            processes=max(len(self._others), 1),
            memory_kib=sight.memory_kib,
        )

    async def _look(self) -> Sight:
        """Look at all lamps, and count what has happened for the end."""
        sight = Sight.together([Sight.of(self._swarm), *await self._others.look()])
        self._all.add(sight.figures)
        return sight


def _busiest(used_s: Sequence[float], before_s: Sequence[float], passed_s: float) -> float:
    """Return the share of a core that the busiest of some processes took."""
    return max(now_s - then_s for now_s, then_s in zip(used_s, before_s, strict=True)) / max(passed_s, 0.001)

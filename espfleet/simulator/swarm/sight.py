"""One look at the lamps of a load test, which several processes may run."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from espfleet.simulator.swarm.figures import Figures
from espfleet.simulator.swarm.states import Glow
from espfleet.simulator.swarm.swarm import Swarm


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What happened to lamps since the last look, and how they are.

    Attributes:
        figures: What happened.
        connected: Lamps that were welcomed and are still connected.
        glows: How many lamps show what.
        used_s: CPU that each process has used since it began.
        memory_kib: Most memory that all of them had.
    """

    figures: Figures
    connected: int
    glows: Mapping[Glow, int]
    used_s: Sequence[float]
    memory_kib: int

    @classmethod
    def of(cls, swarm: Swarm) -> Self:
        """Look at the lamps of this process; what happens from now on is for the next look."""
        figures, swarm.figures = swarm.figures, Figures(swarm.gateway_is_here)
        return cls(
            figures=figures,
            connected=swarm.connected(),
            glows=swarm.glows(),
            used_s=[time.process_time()],
            memory_kib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        )

    @classmethod
    def together(cls, sights: Sequence[Self]) -> Self:
        """Return one look at the lamps of several processes."""
        figures, glows = Figures(same_clock=True), Counter[Glow]()
        for sight in sights:
            figures.add(sight.figures)
            glows.update(sight.glows)
        return cls(
            figures=figures,
            connected=sum(sight.connected for sight in sights),
            glows=glows,
            used_s=[used_s for sight in sights for used_s in sight.used_s],
            memory_kib=sum(sight.memory_kib for sight in sights),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        values = {name: getattr(self, name) for name in ("connected", "glows", "used_s", "memory_kib")}
        return {**values, "figures": self.figures.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return what ``to_dict`` was made from."""
        glows = {Glow(word): count for word, count in values["glows"].items()}
        return cls(**{**values, "glows": glows, "figures": Figures.from_dict(values["figures"])})

"""The weather of a simulated network: what a probe would have brought back, from seed, spell and time alone.

Random numbers are hashes of (seed, purpose, time), so the same probe always gives the same answer, in any order and
on any machine.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from espfleet.domain.samples import LOST, Floats

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Hashes = npt.NDArray[np.uint64]


class Spell(NamedTuple):
    """How the network behaves for a while.

    Attributes:
        base_ms: Shortest round trip.
        swell_ms: How far it swells and falls again within ``SWELL_S``.
        noise_ms: Mean of the exponential delay that each probe has on top.
        loss: Share of probes lost.
    """

    base_ms: float
    swell_ms: float
    noise_ms: float
    loss: float


#: Chosen so that, under the ``broadband`` thresholds, calm is green, busy orange, lossy orange or red, and dead red;
#: and that busy after calm is an orange jump (2.5 to 5 times), not a red one.
SPELLS = MappingProxyType(
    {
        "calm": Spell(20, 3, 0.8, 0.0),
        "busy": Spell(58, 16, 6, 0.005),
        "lossy": Spell(30, 8, 3, 0.25),
        "dead": Spell(30, 8, 3, 1.0),
    }
)
#: The spells of ``mixed`` one after the other, and how long each lasts, in seconds: the loss of a dead one is
#: forgotten after 60 s, so that the calm one is seen to be green before the next comes.
MIXED_S = MappingProxyType({"calm": 75.0, "busy": 24.0, "lossy": 16.0, "dead": 9.0})
CYCLE_S = sum(MIXED_S.values())
#: Each spell of ``mixed`` begins up to this much earlier or later.
WANDER_S = 3.0
SWELL_S = 7.0
#: What random numbers are for.
LOSS, NOISE, SWELL, WANDER, PHASE = range(5)

_NAMES = (*SPELLS, "mixed")
_TABLE = np.array(list(SPELLS.values()))
_ENDS_S = np.cumsum(list(MIXED_S.values()))


def code_of(spell: str) -> int:
    """Return the number by which ``rtt_us`` knows a spell."""
    return _NAMES.index(spell)


def rtt_us(spells: Ints, seeds: Ints, at_ms: Ints) -> Floats:
    """Return round trips in microseconds or ``LOST``, float32 [n].

    Args:
        spells: Numbers of spells, int64 [n].
        seeds: Seeds of networks, int64 [n].
        at_ms: When each probe is sent, ms since the epoch, int64 [n].
    """
    at_s = at_ms / 1_000
    now = np.where(spells == len(SPELLS), _spell_of_mixed(seeds, at_s), spells)
    base_ms, swell_ms, noise_ms, loss = _TABLE[now].T
    noise = -np.log1p(-_uniform(seeds, NOISE, at_ms))
    rtt_ms = base_ms + swell_ms * _swell(seeds, at_s) + noise_ms * noise
    lost = _uniform(seeds, LOSS, at_ms) < loss
    return np.where(lost, LOST, rtt_ms * 1_000).astype(np.float32)


def _spell_of_mixed(seeds: Ints, at_s: Doubles) -> Ints:
    """Return which spell a mixed network is in; each seed has its own place in the cycle."""
    shifted = at_s + CYCLE_S * _uniform(seeds, PHASE, np.zeros_like(seeds))
    cycles = np.floor(shifted / CYCLE_S).astype(np.int64)
    into_s = shifted - cycles * CYCLE_S
    ends_s = _ENDS_S[:-1, None] + WANDER_S * (
        2 * np.stack([_uniform(seeds, WANDER + 8 * change, cycles) for change in range(1, len(_ENDS_S))]) - 1
    )
    spell: Ints = (into_s >= ends_s).sum(axis=0)
    return spell


def _swell(seeds: Ints, at_s: Doubles) -> Doubles:
    """Return a smooth random curve from 0 to 1."""
    steps = np.floor(at_s / SWELL_S).astype(np.int64)
    between = at_s / SWELL_S - steps
    weight = between * between * (3 - 2 * between)
    curve: Doubles = _uniform(seeds, SWELL, steps) * (1 - weight) + _uniform(seeds, SWELL, steps + 1) * weight
    return curve


def _uniform(seeds: Ints, purpose: int, moments: Ints) -> Doubles:
    """Return random numbers from 0 to below 1."""
    mixed = _mixed(_mixed(seeds.astype(np.uint64) + np.uint64(purpose << 32)) ^ moments.astype(np.uint64))
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: Hashes) -> Hashes:
    """Return hashes of 64-bit numbers (the finaliser of splitmix64; Steele, Lea and Flood, 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))

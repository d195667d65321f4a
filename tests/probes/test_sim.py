from __future__ import annotations

import math
import time

import numpy as np

from espfleet.domain.samples import NOT_MEASURED
from espfleet.probes.clocks import Clocks
from espfleet.probes.pace import MS
from espfleet.probes.sim import SimEngine
from tests.probes.driving import Driven, endpoint
from tests.probes.hands import Hands


def said(driven: Driven, index: int) -> list[float]:
    """Return what was measured: on a machine that is starved a clock may look as if it had been set."""
    found = [value for value in driven.of(index) if value != NOT_MEASURED]
    assert found
    return found


def test_simulated_targets_need_no_socket() -> None:
    with Driven("sim://calm", "sim://dead", "sim://busy?seed=4", interval_ms=250) as driven:
        driven.rounds_of_each(3)
        assert driven.engine.filenos() == ()
        assert all(15_000 < value < 40_000 for value in said(driven, 0))
        assert all(map(math.isnan, said(driven, 1)))
        assert driven.engine.outstanding == 0
        counters = driven.engine.counters()
        assert counters.sent == counters.received + counters.lost


def test_two_runs_at_the_same_time_bring_back_the_same_however_they_are_ticked() -> None:
    found = []
    for tick_ns in (7 * MS, 90 * MS):
        hands = Hands()
        endpoints = [endpoint(f"sim://mixed?seed={seed}", name=f"t{seed}") for seed in range(5)]
        engine = SimEngine(endpoints, 100, clocks=hands.clocks)
        samples: dict[tuple[int, int], float] = {}
        end_ns = hands.monotonic + 1_000 * MS
        while hands.monotonic <= end_ns:
            for part in engine.tick(hands.monotonic):
                samples |= {(part.number, slot): value for slot, value in zip(part.slots, part.rtt_us, strict=True)}
            hands.pass_ns(tick_ns)
        found.append({key: value for key, value in samples.items() if key[0] < 9})
    assert len(found[0]) == 45
    assert repr(found[0]) == repr(found[1])


def test_an_answer_slower_than_the_time_out_is_lost() -> None:
    with Driven("sim://busy", interval_ms=250, timeout_ms=30) as driven:
        driven.rounds_of_each(3)
        assert all(map(math.isnan, said(driven, 0)))


def test_thousands_of_simulated_targets_cost_little() -> None:
    endpoints = [endpoint("sim://mixed", name=f"t{number}") for number in range(5_000)]
    engine = SimEngine(endpoints, 1_000, clocks=Clocks())
    begun, found = time.process_time(), 0
    end = time.monotonic() + 1.0
    # A machine that is busy gets there later.
    while time.monotonic() < end or (found < 4_000 and time.monotonic() < end + 30):
        now_ns = time.monotonic_ns()
        found += sum(len(part.slots) for part in engine.tick(now_ns))
        time.sleep(max(0, engine.next_tick_ns(now_ns) - now_ns) / 1e9)
    assert found >= 4_000
    assert time.process_time() - begun < 0.5
    assert np.isfinite(found)

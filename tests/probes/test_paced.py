"""What all engines share, seen through simulated networks and clocks moved by hand."""

from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.samples import NOT_MEASURED, UNRESOLVED
from espfleet.probes.pace import MS
from espfleet.probes.paced import MAX_PER_TICK
from espfleet.probes.sim import SimEngine
from tests.probes.driving import endpoint
from tests.probes.hands import Hands


def an_engine(hands: Hands, slots: int = 4, interval_ms: int = 1_000, origin_ns: int | None = None) -> SimEngine:
    endpoints = [endpoint("sim://calm", name=f"t{slot}") for slot in range(slots)]
    return SimEngine(endpoints, interval_ms, origin_ns=origin_ns, clocks=hands.clocks)


def sent(engine: SimEngine, hands: Hands) -> list[tuple[int, list[int]]]:
    return [(found.number, found.slots.tolist()) for found in engine.tick(hands.monotonic)]


def test_each_probe_is_sent_when_it_is_due() -> None:
    hands = Hands()
    engine = an_engine(hands)
    seen = []
    for _ in range(8):
        seen += sent(engine, hands)
        hands.pass_ns(250 * MS)
    assert seen == [(0, [0]), (0, [1]), (0, [2]), (0, [3]), (1, [0]), (1, [1]), (1, [2]), (1, [3])]


def test_a_late_tick_sends_late_and_the_schedule_stays() -> None:
    hands = Hands()
    engine = an_engine(hands)
    engine.tick(hands.monotonic)
    hands.pass_ns(620 * MS)
    assert sent(engine, hands) == [(0, [1, 2])]
    assert engine.next_tick_ns(hands.monotonic) == engine.pace.origin_ns + 750 * MS
    counters = engine.counters()
    assert counters.lateness_max_ms == 370
    assert counters.skipped == 0


def test_rounds_say_when_their_probes_were_due() -> None:
    hands = Hands()
    origin_ns = hands.monotonic
    engine = an_engine(hands, origin_ns=origin_ns)
    engine.tick(hands.monotonic)
    hands.pass_ns(3_260 * MS)
    engine.tick(hands.monotonic)
    hands.pass_ns(1_000 * MS)
    found = {part.number: part for part in engine.tick(hands.monotonic)}
    assert found[4].at_ns == origin_ns + 4_000 * MS
    assert found[4].step_ns == 250 * MS


def test_what_is_more_than_an_interval_late_is_left_out_and_not_measured() -> None:
    hands = Hands()
    engine = an_engine(hands)
    engine.tick(hands.monotonic)
    hands.pass_ns(5_600 * MS)
    found = [(part.number, part.slots.tolist(), part.rtt_us.tolist()) for part in engine.tick(hands.monotonic)]
    assert found[0] == (0, [1, 2, 3], [NOT_MEASURED] * 3)
    assert found[1][:2] == (5, [0, 1, 2])
    assert found[1][2][:2] == [NOT_MEASURED] * 2
    assert found[1][2][2] > 0
    # Slots 1 to 3 of round 0, rounds 1 to 4, slots 0 and 1 of round 5.
    assert engine.counters().skipped == 3 + 16 + 2
    hands.pass_ns(200 * MS)
    assert sent(engine, hands) == [(5, [3])]


def test_one_tick_never_sends_more_than_the_loop_can_spare() -> None:
    hands = Hands()
    engine = an_engine(hands, slots=5_000)
    hands.pass_ns(900 * MS)
    sizes = []
    for _ in range(5):
        sizes.append(sum(len(part.slots) for part in engine.tick(hands.monotonic)))
        assert engine.next_tick_ns(hands.monotonic) - hands.monotonic <= 20 * MS
    assert sizes == [MAX_PER_TICK] * 4 + [4_501 - 4 * MAX_PER_TICK]


def test_an_engine_that_replaces_another_keeps_its_schedule() -> None:
    hands = Hands()
    first = an_engine(hands)
    origin_ns = first.pace.origin_ns
    hands.pass_ns(2_300 * MS)
    second = an_engine(hands, origin_ns=origin_ns)
    assert sent(second, hands) == []
    assert second.next_tick_ns(hands.monotonic) == origin_ns + 2_500 * MS
    hands.pass_ns(200 * MS)
    assert sent(second, hands) == [(2, [2])]


def test_a_retired_engine_sends_nothing_more() -> None:
    hands = Hands()
    engine = an_engine(hands)
    engine.tick(hands.monotonic)
    engine.retire()
    hands.pass_ns(2_000 * MS)
    assert sent(engine, hands) == []
    assert engine.outstanding == 0
    assert engine.next_tick_ns(hands.monotonic) > hands.monotonic + 600_000 * MS


def test_muted_slots_get_their_code_on_schedule_and_disturb_nobody() -> None:
    hands = Hands()
    engine = an_engine(hands)
    for slot, code in ((0, UNRESOLVED), (3, NOT_MEASURED)):
        engine.mute(slot, code)
    engine.tick(hands.monotonic)
    hands.pass_ns(999 * MS)
    (found,) = engine.tick(hands.monotonic)
    assert found.slots.tolist() == [1, 2, 3]
    assert found.rtt_us[2] == NOT_MEASURED
    assert (found.rtt_us[:2] > 0).all()
    hands.pass_ns(1 * MS)
    (found,) = engine.tick(hands.monotonic)
    assert found.rtt_us.tolist() == [UNRESOLVED]
    assert engine.counters().sent == 2


def test_a_set_clock_moves_neither_the_time_of_the_samples_nor_the_schedule() -> None:
    hands = Hands()
    engine = an_engine(hands)
    began_ns = hands.monotonic
    engine.tick(hands.monotonic)
    hands.pass_ns(250 * MS)
    hands.realtime += 3_600_000 * MS
    (found,) = engine.tick(hands.monotonic)
    assert found.slots.tolist() == [1]
    assert found.at_ns == began_ns


@pytest.mark.parametrize(("slots", "interval_ms"), [(1, 10), (7, 100), (333, 50)])
def test_nothing_is_sent_twice_or_never_in_ten_thousand_uneven_ticks(slots: int, interval_ms: int) -> None:
    hands = Hands()
    engine = an_engine(hands, slots, interval_ms)
    random = np.random.default_rng(1)
    positions: list[int] = []
    for _ in range(10_000 // slots + 20):
        for found in engine.tick(hands.monotonic):
            positions += (found.number * slots + found.slots).tolist()
        hands.pass_ns(int(random.uniform(0, 9) * MS))
    assert positions == list(range(len(positions)))
    assert engine.counters().skipped == 0

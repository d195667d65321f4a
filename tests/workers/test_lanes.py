"""What an engine brings back reaches each shard's stream whole, once, and in the order it was sent."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.samples import unpack
from espfleet.domain.targets import parse_address
from espfleet.probes.outcomes import Endpoint, Round
from espfleet.workers.lanes import ENTRY_SAMPLES, Lane, shard_views

MS = 1_000_000


def endpoints(count: int) -> list[Endpoint]:
    return [
        Endpoint(name=f"t{number}", address=parse_address("sim://calm"), timeout_ms=1_000) for number in range(count)
    ]


def a_round(number: int, slots: list[int], rtt_us: list[float], step_ns: int = 100 * MS) -> Round:
    return Round(
        number=number,
        at_ns=1_000 * MS * number,
        step_ns=step_ns,
        slots=np.array(slots, np.int32),
        rtt_us=np.array(rtt_us, np.float32),
    )


class NoEngine:
    """Stands where an engine would; the tests hand its rounds over themselves."""


def lane(count: int, shards_of: dict[str, tuple[int, ...]]) -> Lane:
    return Lane(NoEngine(), shard_views(endpoints(count), 1_000, shards_of))  # type: ignore[arg-type]


def written(of: Lane) -> dict[int, dict[str, list[tuple[int, float]]]]:
    """Return, by shard and target, when each sample was sent (ms) and its value."""
    found: dict[int, dict[str, list[tuple[int, float]]]] = {}
    for view, blob, count in of.take(0):
        batch = unpack(blob)
        assert len(batch.slots) == count
        for slot, sent_ms, value in zip(batch.slots, batch.sent_ms(), batch.rtt_us, strict=True):
            found.setdefault(view.shard, {}).setdefault(view.layout.targets[slot], []).append(
                (int(sent_ms), float(value))
            )
    return found


def test_a_target_of_two_shards_is_written_to_both() -> None:
    tested = lane(2, {"t0": (0, 3), "t1": (3,)})
    tested.collect([a_round(1, [0, 1], [10.0, 20.0])], now_ns=5)
    assert written(tested) == {0: {"t0": [(1_000, 10.0)]}, 3: {"t0": [(1_000, 10.0)], "t1": [(1_100, 20.0)]}}


def test_parts_of_a_round_are_joined_and_rounds_are_not() -> None:
    tested = lane(3, {"t0": (0,), "t1": (0,), "t2": (0,)})
    tested.collect([a_round(1, [2], [3.0])], now_ns=5)
    tested.collect([a_round(1, [0, 1], [1.0, 2.0]), a_round(2, [0], [4.0])], now_ns=6)
    assert tested.waiting == 4
    assert tested.waiting_since_ns == 5
    entries = list(tested.take(0))
    assert [count for _, _, count in entries] == [3, 1]
    assert list(unpack(entries[0][1]).rtt_us) == [1.0, 2.0, 3.0]
    assert tested.waiting == 0


def test_nothing_waits_when_a_tick_brought_nothing() -> None:
    tested = lane(1, {"t0": (0,)})
    tested.collect([a_round(1, [], [])], now_ns=5)
    assert (tested.waiting, tested.waiting_since_ns, list(tested.take(0))) == (0, 0, [])


def test_an_entry_holds_a_thousand_samples_at_most() -> None:
    count = 2 * ENTRY_SAMPLES + 1
    tested = lane(count, {f"t{number}": (1,) for number in range(count)})
    tested.collect([a_round(1, list(range(count)), [1.0] * count, step_ns=1)], now_ns=5)
    assert [held for _, _, held in tested.take(0)] == [ENTRY_SAMPLES, ENTRY_SAMPLES, 1]


@given(data=st.data(), count=st.integers(1, 40))
def test_every_sample_reaches_every_shard_of_its_target(data: st.DataObject, count: int) -> None:
    shards_of = {
        f"t{number}": tuple(sorted(data.draw(st.sets(st.integers(0, 3), min_size=1, max_size=3))))
        for number in range(count)
    }
    slots = sorted(data.draw(st.sets(st.integers(0, count - 1), min_size=1)))
    tested = lane(count, shards_of)
    tested.collect([a_round(7, slots, [float(slot) for slot in slots])], now_ns=5)
    found = written(tested)
    told = {(shard, target) for shard, targets in found.items() for target in targets}
    assert told == {(shard, f"t{slot}") for slot in slots for shard in shards_of[f"t{slot}"]}
    assert all(
        len(samples) == 1 and samples[0][1] == float(target[1:])
        for targets in found.values()
        for target, samples in targets.items()
    )

"""Samples packed for a stream."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.samples import (
    LOST,
    NOT_MEASURED,
    UNREACHABLE,
    UNRESOLVED,
    Batch,
    Layout,
    is_lost,
    pack,
    unpack,
)
from espfleet.errors import InvalidError

HEADER = 28
SLOTS = st.one_of(
    st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=50, unique=True).map(sorted),
    st.tuples(st.integers(0, 2**30), st.lists(st.integers(0, 300), min_size=1, max_size=300, unique=True)).map(
        lambda both: sorted(both[0] + slot for slot in both[1])
    ),
    st.tuples(st.integers(0, 2**30), st.integers(1, 200)).map(lambda both: list(range(both[0], sum(both)))),
)
RTTS = st.one_of(st.floats(0, 1e7, width=32), st.sampled_from([LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED]))


def batch(slots: list[int], rtts: list[float] | None = None, at_ns: int = 5, step_ns: int = 7) -> Batch:
    rtts = rtts or [1.5] * len(slots)
    return Batch(np.array(slots, np.int32), np.array(rtts, np.float32), at_ns, step_ns)


@given(SLOTS, st.data(), st.integers(-(2**61), 2**61), st.integers(0, 2**30))
def test_what_is_packed_comes_out_again(slots: list[int], data: st.DataObject, at_ns: int, step_ns: int) -> None:
    rtts = data.draw(st.lists(RTTS, min_size=len(slots), max_size=len(slots)))
    got = unpack(pack(batch(slots, rtts, at_ns, step_ns)))
    assert got.slots.tolist() == slots
    np.testing.assert_array_equal(got.rtt_us, np.array(rtts, np.float32))
    assert (got.at_ns, got.step_ns) == (at_ns, step_ns)


@pytest.mark.parametrize(
    ("slots", "size"),
    [
        (range(1_000), HEADER + 4_000),
        (range(0, 1_000, 2), HEADER + 125 + 2_000),
        ([0, 900_000], HEADER + 8 + 8),
        ([7], HEADER + 4),
    ],
)
def test_packing_takes_few_bytes(slots: range | list[int], size: int) -> None:
    assert len(pack(batch(list(slots)))) == size


@pytest.mark.parametrize("step_ns", [0, 1_000_000, 5_000_000_000, 3_600_000_000_000])
def test_a_batch_survives_packing_however_far_apart_its_probes_are(step_ns: int) -> None:
    found = unpack(pack(batch([0, 2], at_ns=1_795_000_000_000_000_000, step_ns=step_ns)))
    assert found.step_ns == step_ns
    assert found.sent_ms().tolist() == [1_795_000_000_000, 1_795_000_000_000 + 2 * step_ns // 1_000_000]


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_stumble(entry: bytes) -> None:
    with contextlib.suppress(InvalidError):
        unpack(entry)


@given(SLOTS, st.data())
def test_bytes_that_were_changed_are_refused_or_read_as_a_whole_batch(slots: list[int], data: st.DataObject) -> None:
    entry = bytearray(pack(batch(slots)))
    entry[data.draw(st.integers(0, len(entry) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        got = unpack(bytes(entry))
    except InvalidError:
        return
    assert len(got.slots) == len(got.rtt_us) > 0
    assert got.slots.min() >= 0
    assert (np.diff(got.slots) > 0).all()


@pytest.mark.parametrize("slots", [[3, 4, 5], [3, 5], [3, 900]])
def test_an_entry_cut_short_or_too_long_is_refused(slots: list[int]) -> None:
    entry = pack(batch(slots))
    for other in (entry[:-1], entry + b"\x00", entry[:10], b""):
        with pytest.raises(InvalidError, match="a packed sample entry"):
            unpack(other)


def test_an_entry_of_another_version_is_refused() -> None:
    with pytest.raises(InvalidError, match="is of version 2; this espfleet reads version 1"):
        unpack(b"\x02" + pack(batch([1]))[1:])


@pytest.mark.parametrize(("at_ns", "step_ns"), [(5, 2**64 - 1), (5, 2**62), (2**63 - 1, 1), (-(2**63), 0)])
def test_an_entry_that_was_sent_at_no_time_is_refused(at_ns: int, step_ns: int) -> None:
    with pytest.raises(InvalidError, match="sent at no time"):
        unpack(pack(batch([0, 2], at_ns=at_ns, step_ns=step_ns)))


def test_send_times_follow_from_the_slots() -> None:
    at_ns, step_ns = 1_700_000_000_000_400_000, 250_000
    assert batch([0, 2, 3, 40], at_ns=at_ns, step_ns=step_ns).sent_ms().tolist() == [
        1_700_000_000_000,
        1_700_000_000_000,
        1_700_000_000_001,
        1_700_000_000_010,
    ]


def test_lost_is_what_brought_no_answer() -> None:
    samples = np.array([0, 12, LOST, UNREACHABLE, UNRESOLVED, NOT_MEASURED], np.float32)
    assert is_lost(samples).tolist() == [False, False, True, True, True, False]


def test_a_layout_survives_being_stored_and_its_id_is_its_content() -> None:
    layout = Layout(1_000, 500, ("a", "b"))
    assert Layout.from_json(layout.to_json()) == layout
    assert Layout.from_json(layout.to_json().encode()).layout_id == layout.layout_id
    others = [Layout(1_001, 500, ("a", "b")), Layout(1_000, 501, ("a", "b")), Layout(1_000, 500, ("b", "a"))]
    assert len({each.layout_id for each in [layout, *others]}) == 4
    assert len(layout.layout_id) == 16

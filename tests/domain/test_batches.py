"""Small batches joined to larger ones."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.batches import Samples, joined
from espfleet.domain.groups import new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.targets import Target


def batch(rows: list[int], at_ms: int) -> Samples:
    return np.array(rows, np.int64), np.full(len(rows), 5, np.float32), np.full(len(rows), at_ms)


@given(st.lists(st.lists(st.integers(-1, 6), unique=True, max_size=7), max_size=20))
def test_no_row_is_twice_in_a_batch_and_all_keep_their_order(rows: list[list[int]]) -> None:
    before = [batch(each, at_ms) for at_ms, each in enumerate(rows)]
    after = list(joined(before))
    assert len(after) <= len(before)
    for row in range(-1, 7):
        times = [[int(at) for have, _, sent in batches for at in sent[have == row]] for batches in (before, after)]
        assert times[0] == times[1]
        if row >= 0:
            assert all(np.count_nonzero(have == row) <= 1 for have, _, _ in after)


def test_the_parts_of_a_sweep_become_one() -> None:
    sweeps = [batch([row], 1_000 * sweep + row) for sweep in range(3) for row in range(40)]
    assert [len(rows) for rows, _, _ in joined(sweeps)] == [40, 40, 40]


def test_joined_or_not_the_levels_are_the_same() -> None:
    rng = np.random.default_rng(2)
    names = [f"t{number}" for number in range(20)]
    books = LevelBook(), LevelBook()
    for book in books:
        book.configure(
            {name: Target(name=name, address="192.0.2.1") for name in names},
            {name: new_group(name, [name], preset="lan") for name in names},
        )
    rows = books[0].rows(names)
    story = []
    for number in range(1_500):
        part = rng.permutation(20)[:3]
        rtts_us = rng.choice([900, 1_500, 9_000, np.nan], 3).astype(np.float32)
        story.append((rows[part], rtts_us, np.full(3, 150 * number)))
    for each in story:
        books[0].add(*each)
    for each in joined(story):
        books[1].add(*each)
    told = [[(level.group, level.level) for level in book.evaluate(150 * 1_500)] for book in books]
    assert told[0] == told[1]

"""How long the past counts can be set."""

from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.groups import Group
from espfleet.domain.levels import LevelBook
from espfleet.domain.sizes import USUAL, Memory, sizes_of
from espfleet.domain.states import Band
from espfleet.domain.targets import Target


def bands(memory: Memory, rtts_ms: list[float]) -> list[Band | None]:
    """Return the band of a group of one target after each of its samples, one a second."""
    book = LevelBook(memory)
    book.configure({"t": Target(name="t", address="sim://calm")}, {"g": Group(name="g", targets=("t",))})
    rows = book.rows(["t"])
    found = []
    for second, rtt_ms in enumerate(rtts_ms):
        at_ms = 1_000_000 + 1_000 * second
        book.add(rows, np.array([rtt_ms * 1_000], np.float32), np.array([at_ms], np.int64))
        book.evaluate(at_ms)
        found.append(book.group_levels()[0].band)
    return found


def test_windows_follow_the_memory() -> None:
    assert sizes_of(1_000).long >= 180
    assert sizes_of(1_000, Memory(long_ms=600_000)).long >= 600
    assert sizes_of(100, Memory(short_ms=1_000)).short == 10
    assert sizes_of(1_000, Memory(long_ms=600_000)).long_ms == 600_000


@pytest.mark.parametrize(("clear_after_ms", "orange_for"), [(0, 0), (5_000, 5)])
def test_a_colour_gets_better_when_it_is_told_to(clear_after_ms: int, orange_for: int) -> None:
    # Four slow samples of nine make the short median slow, and leave the long one fast.
    rtts_ms = [10.0] * 60 + [70.0] * 5 + [10.0] * 20
    shown = bands(Memory(clear_after_ms=clear_after_ms), rtts_ms)
    short = next(index for index in range(65, 85) if index >= 68 and shown[index] is Band.GREEN)
    fast_again = 67
    assert orange_for <= short - fast_again <= orange_for + 2


def test_the_usual_memory_is_the_default() -> None:
    rtts_ms = [10.0] * 20 + [70.0] * 8 + [10.0] * 20
    assert bands(USUAL, rtts_ms) == bands(Memory(), rtts_ms)

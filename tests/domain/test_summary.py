"""The packed table of all targets."""

from __future__ import annotations

import numpy as np
import pytest

from espfleet.domain.groups import new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.domain.states import Band
from espfleet.domain.summary import parse_summary
from espfleet.domain.targets import Target
from espfleet.errors import InvalidError

NAMES = ("fine", "slow", "dead", "blocked", "nameless", "unmeasured", "new", "shared")


@pytest.fixture
def book() -> LevelBook:
    """A book after twenty rounds in which each target is as it is called; the last round is two seconds old."""
    made = LevelBook()
    made.configure(
        {name: Target(name=name, address="192.0.2.1", interval_ms=500 if name == "slow" else 1_000) for name in NAMES},
        {"strict": new_group("strict", ["shared"], preset="lan"), "mild": new_group("mild", ["shared", "fine"])},
    )
    ways = {"fine": 10_000, "slow": 60_000, "dead": LOST, "blocked": UNREACHABLE, "nameless": UNRESOLVED}
    samples = {**ways, "unmeasured": NOT_MEASURED, "shared": 8_000}
    for at_ms in range(1_000, 21_000, 1_000):
        rows = made.rows(list(samples))
        made.add(rows, np.array(list(samples.values()), np.float32), np.full(len(samples), at_ms))
    made.evaluate(22_000)
    return made


def test_a_summary_says_of_each_target_what_is_known(book: LevelBook) -> None:
    summary = parse_summary(book.summary())
    assert summary.at_ms == 22_000
    assert set(summary.targets) == set(NAMES)
    fine = summary.targets["fine"]
    assert (fine.target, fine.level, fine.band, fine.unknown) == ("fine", 10, Band.GREEN, "")
    assert (fine.now_ms, fine.last_ms, fine.jitter_ms, fine.loss_percent) == (10, 10, 0, 0)
    assert fine.usual_ms == pytest.approx(10, rel=0.032)
    assert (fine.age_ms, fine.last) == (2_000, "answered")


def test_targets_in_no_group_are_judged_by_the_default_preset(book: LevelBook) -> None:
    slow = parse_summary(book.summary()).targets["slow"]
    assert (slow.level, slow.band, slow.now_ms) == (54, Band.ORANGE, 60)


def test_a_target_of_several_groups_has_the_worst_of_their_levels(book: LevelBook) -> None:
    assert parse_summary(book.summary()).targets["shared"].level == 58


@pytest.mark.parametrize(("name", "last"), [("dead", "lost"), ("blocked", "unreachable"), ("nameless", "no address")])
def test_what_is_lost_has_no_times(book: LevelBook, name: str, last: str) -> None:
    target = parse_summary(book.summary()).targets[name]
    assert (target.level, target.band, target.last, target.loss_percent) == (100, Band.RED, last, 100)
    assert (target.now_ms, target.usual_ms, target.last_ms) == (None, None, None)


@pytest.mark.parametrize(
    ("name", "unknown", "last"), [("new", "no samples yet", ""), ("unmeasured", "not measured", "not measured")]
)
def test_what_is_unknown_says_why(book: LevelBook, name: str, unknown: str, last: str) -> None:
    target = parse_summary(book.summary()).targets[name]
    assert (target.level, target.band, target.unknown, target.last) == (None, None, unknown, last)
    assert (target.now_ms, target.age_ms) == (None, None)


def test_a_summary_may_be_of_some_targets_or_none(book: LevelBook) -> None:
    assert set(parse_summary(book.summary({"slow", "fine", "stranger"})).targets) == {"slow", "fine"}
    assert parse_summary(LevelBook().summary()).targets == {}


def test_a_summary_takes_few_bytes(book: LevelBook) -> None:
    names = sum(len(name) + 1 for name in NAMES)
    assert len(book.summary()) <= 17 + names + 27 * len(NAMES)


@pytest.mark.parametrize("cut", [slice(0, 0), slice(0, 9), slice(0, -1), slice(0, 40)])
def test_a_summary_cut_short_is_refused(book: LevelBook, cut: slice) -> None:
    with pytest.raises(InvalidError, match="a summary of"):
        parse_summary(book.summary()[cut])


def test_a_summary_of_another_version_is_refused(book: LevelBook) -> None:
    with pytest.raises(InvalidError, match="not of version 1"):
        parse_summary(b"\x02" + book.summary()[1:])

"""The book of levels: what a group shows, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from espfleet.domain.groups import Combine, Group, new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.domain.states import GroupLevel, State
from espfleet.domain.targets import Target
from espfleet.errors import NotFoundError

START_MS = 1_700_000_000_000


def target(name: str, *, interval_ms: int = 1_000, timeout_ms: int = 1_000, address: str = "192.0.2.1") -> Target:
    return Target(name=name, address=address, interval_ms=interval_ms, timeout_ms=timeout_ms)


class Fleet:
    """A book, its clock, and rounds of samples given in ms or as codes."""

    def __init__(self, *groups: Group, targets: Mapping[str, Target] | None = None) -> None:
        self.book = LevelBook()
        self.now_ms = START_MS
        names = {name for group in groups for name in group.targets}
        self.targets = dict(targets or {name: target(name) for name in sorted(names)})
        self.groups = {group.name: group for group in groups}
        self.configure()

    def configure(self) -> None:
        self.book.configure(self.targets, self.groups)

    def round(self, *, step_ms: int = 1_000, **samples: float) -> list[GroupLevel]:
        """Let time pass, add a sample of each named target and return what changed."""
        self.now_ms += step_ms
        rtts_us = [rtt * 1_000 if rtt >= 0 else rtt for rtt in samples.values()]
        self.book.add(self.book.rows(list(samples)), np.array(rtts_us, np.float32), np.full(len(samples), self.now_ms))
        return self.book.evaluate(self.now_ms)

    def rounds(self, count: int, **samples: float) -> None:
        for _ in range(count):
            self.round(**samples)

    def level(self, group: str = "g") -> GroupLevel:
        return next(level for level in self.book.group_levels() if level.group == group)

    def shown(self, group: str = "g") -> tuple[State, int, str]:
        level = self.level(group)
        return level.state, level.level, level.reason


@pytest.fixture
def fleet() -> Fleet:
    return Fleet(new_group("g", ["a", "b"]))


def test_before_the_first_sample_nothing_is_known(fleet: Fleet) -> None:
    fleet.round()
    assert fleet.shown() == (State.UNKNOWN, 50, "a: no samples yet")


def test_a_group_without_targets_is_unknown() -> None:
    fleet = Fleet(new_group("g"))
    fleet.round()
    assert fleet.shown() == (State.UNKNOWN, 50, "no targets")


def test_a_group_is_unknown_until_each_target_has_a_sample(fleet: Fleet) -> None:
    fleet.round(a=10)
    assert fleet.shown() == (State.UNKNOWN, 50, "b: no samples yet")
    fleet.round(a=10, b=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")


def test_orange_shows_while_another_target_is_unknown(fleet: Fleet) -> None:
    fleet.rounds(3, a=100)
    assert fleet.shown() == (State.OK, 70, "a: latency 100 ms")


def test_the_first_sample_alone_can_only_be_green() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.round(a=100)
    assert fleet.shown() == (State.UNKNOWN, 50, "a: waits for a second sample")
    fleet.round(a=100)
    assert fleet.shown() == (State.OK, 70, "a: latency 100 ms")


def test_a_first_probe_that_is_lost_is_no_outage() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.round(a=LOST)
    assert fleet.level().state is State.UNKNOWN
    fleet.round(a=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")


@pytest.mark.parametrize("interval_ms", [10, 100, 1_000, 60_000])
@pytest.mark.parametrize("lost", [LOST, UNREACHABLE])
def test_an_outage_is_red_within_five_losses_and_never_merely_orange_after(interval_ms: int, lost: float) -> None:
    group = new_group("g", ["a"], preset="lan")
    fleet = Fleet(group, targets={"a": target("a", interval_ms=interval_ms)})
    for _ in range(400):
        fleet.round(step_ms=interval_ms, a=1)
    levels = []
    for _ in range(700):
        fleet.round(step_ms=interval_ms, a=lost)
        levels.append(fleet.level().level)
    assert min(levels[4:]) == 100
    assert fleet.shown() == (State.OK, 100, "a: no answer")


def test_a_name_without_address_is_red_at_once_and_disturbs_nobody() -> None:
    fleet = Fleet(
        new_group("g", ["a"]),
        new_group("other", ["b"]),
        targets={"a": target("a", address="tcp://router.lan:80"), "b": target("b")},
    )
    fleet.round(a=UNRESOLVED, b=10)
    assert fleet.shown() == (State.OK, 100, "a: name router.lan has no address")
    assert fleet.shown("other") == (State.OK, 10, "b: latency 10 ms")


def test_a_target_that_is_not_measured_is_unknown_for_that_reason() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.round()
    fleet.rounds(3, a=NOT_MEASURED)
    assert fleet.shown() == (State.UNKNOWN, 50, "a: not measured")
    fleet.round(a=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")
    fleet.rounds(4, a=NOT_MEASURED)
    assert fleet.level().state is State.OK
    fleet.round(a=NOT_MEASURED)
    assert fleet.shown() == (State.UNKNOWN, 50, "a: not measured")


def test_silence_of_three_intervals_and_the_timeout_is_unknown(fleet: Fleet) -> None:
    fleet.rounds(9, a=10, b=10)
    for _ in range(4):
        assert fleet.round(a=10) == []
    (changed,) = fleet.round(a=10)
    assert (changed.state, changed.level, changed.reason) == (State.UNKNOWN, 50, "b: no samples any more")
    (changed,) = fleet.round(a=10, b=12)
    assert (changed.state, changed.reason) == (State.OK, "a: latency 10 ms")


def test_a_red_target_that_falls_silent_is_unknown_and_red_again_when_it_is_heard() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.rounds(9, a=LOST)
    fleet.round(step_ms=10_000)
    assert fleet.level().state is State.UNKNOWN
    fleet.round(a=LOST)
    assert fleet.shown() == (State.OK, 100, "a: no answer")


def test_samples_of_the_future_are_forgotten() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.book.add(fleet.book.rows(["a"]), np.array([10_000], np.float32), np.array([START_MS + 3_600_000]))
    fleet.round()
    assert fleet.shown() == (State.UNKNOWN, 50, "a: its samples lie in the future")
    fleet.round(a=10)
    assert fleet.level().state is State.OK


def test_a_paused_group_says_so_and_keeps_its_level() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.rounds(20, a=100)
    fleet.groups["g"] = new_group("g", ["a"], paused=True)
    fleet.configure()
    fleet.round(a=100)
    assert fleet.shown() == (State.PAUSED, 50, "paused")
    fleet.groups["g"] = new_group("g", ["a"])
    fleet.configure()
    fleet.round(a=100)
    assert fleet.shown() == (State.OK, 70, "a: latency 100 ms")


def test_only_what_changed_is_told_again(fleet: Fleet) -> None:
    assert len(fleet.round(a=10, b=11)) == 1
    assert fleet.round(a=10, b=11) == []
    assert fleet.book.evaluate(fleet.now_ms) == []
    fleet.configure()
    assert fleet.round(a=10, b=11) == []
    assert [level.level for level in fleet.book.group_levels()] == [11]


def test_the_reason_names_what_decides() -> None:
    groups = [new_group(name, [name]) for name in ("slow", "lossy", "jumpy", "restless", "dropped")]
    fleet = Fleet(*groups, new_group("spiky", ["spiky"], preset="pinglamp"))
    for number in range(200):
        late = number > 190
        fleet.round(
            slow=60,
            lossy=LOST if number % 9 == 0 else 10,
            jumpy=48 if late else 8,
            restless=20 if number % 2 else 45,
            dropped=LOST if number in (197, 198, 199) else 5,
            spiky=45 if number == 199 else 10,
        )
    assert {level.group: (level.band and level.band.value, level.reason) for level in fleet.book.group_levels()} == {
        "slow": ("orange", "slow: latency 60 ms"),
        "lossy": ("orange", "lossy: loss 12 %"),
        "jumpy": ("red", "jumpy: latency jumped to 48 ms"),
        "restless": ("orange", "restless: jitter 24 ms"),
        "dropped": ("green", "dropped: most probes lost"),
        "spiky": ("red", "spiky: one answer after 45 ms"),
    }
    fleet.round(dropped=LOST)
    assert fleet.shown("dropped") == (State.OK, 100, "dropped: most probes lost")


def test_a_target_may_be_in_groups_with_different_thresholds() -> None:
    fleet = Fleet(new_group("here", ["a"], preset="lan"), new_group("far", ["a"], preset="satellite"))
    fleet.rounds(10, a=30)
    assert fleet.level("here").level == 100
    assert fleet.level("far").level == 1


def test_groups_combine_as_they_are_told() -> None:
    names = ["a", "b", "c"]
    rules = [new_group("worst", names), new_group("median", names, combine=Combine.MEDIAN)]
    fleet = Fleet(*rules, new_group("two", names, combine=Combine.QUORUM, quorum=2))
    fleet.rounds(10, a=10, b=60, c=200)
    assert {level.group: level.level for level in fleet.book.group_levels()} == {"worst": 96, "median": 54, "two": 54}


def test_an_unknown_target_that_makes_no_difference_says_why_it_is_unknown() -> None:
    fleet = Fleet(new_group("g", ["a", "b", "c"], combine=Combine.QUORUM, quorum=3))
    fleet.rounds(3, a=10, b=20)
    assert fleet.shown() == (State.OK, 0, "c: no samples yet")


def test_a_target_named_by_a_group_and_not_there_is_left_out() -> None:
    fleet = Fleet(new_group("g", ["a", "gone"]), targets={"a": target("a")})
    fleet.round(a=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")


def test_the_reason_changes_with_the_cause_also_at_the_same_level() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.rounds(60, a=10)
    fleet.rounds(4, a=LOST)
    assert fleet.shown() == (State.OK, 100, "a: most probes lost")
    (changed,) = fleet.round(a=LOST)
    assert (changed.level, changed.reason) == (100, "a: no answer")
    (changed,) = fleet.round(a=UNRESOLVED)
    assert (changed.level, changed.reason) == (100, "a: name 192.0.2.1 has no address")
    assert fleet.round(a=UNRESOLVED) == []
    (changed,) = fleet.round(a=LOST)
    assert (changed.level, changed.reason) == (100, "a: no answer")


def test_a_band_that_a_loss_holds_says_so() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.rounds(60, a=10)
    for _ in range(5):
        fleet.round(a=LOST)
        fleet.rounds(4, a=10)
    assert fleet.level().level > 50
    fleet.rounds(40, a=10)
    level = fleet.level()
    assert (level.band, level.reason[:8]) == ("orange", "a: loss ")
    fleet.rounds(30, a=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")


# --- how samples come in


def test_levels_do_not_depend_on_how_often_they_are_looked_at() -> None:
    often, seldom = (Fleet(new_group("g", ["a"], preset="lan")) for _ in range(2))
    rng = np.random.default_rng(5)
    for number in range(600):
        rtt = float(rng.choice([1, 1, 1, 4, 9, 30, LOST]))
        often.round(a=rtt)
        seldom.now_ms += 1_000
        seldom.book.add(seldom.book.rows(["a"]), np.array([rtt * 1_000], np.float32), np.array([seldom.now_ms]))
        if number % 50 == 49:
            seldom.book.evaluate(seldom.now_ms)
            assert (seldom.level().level, seldom.level().state) == (often.level().level, often.level().state)


def test_samples_of_unknown_targets_are_counted_and_left_out(fleet: Fleet) -> None:
    assert fleet.book.rows(["a", "stranger"]).tolist()[1] == -1
    fleet.round(a=10, stranger=99, b=10)
    assert fleet.level().level == 10
    assert (fleet.book.strangers, fleet.book.samples) == (1, 2)


def test_a_batch_taken_twice_counts_once(fleet: Fleet) -> None:
    rows = fleet.book.rows(["a", "b"])
    for _ in range(2):
        fleet.book.add(rows, np.array([np.nan, 10_000], np.float32), np.full(2, fleet.now_ms))
    assert (fleet.book.samples, fleet.book.dropped) == (2, 2)


def test_targets_of_all_intervals_come_in_one_batch() -> None:
    intervals = {"a": 10, "b": 1_000, "c": 60_000, "d": 1_000}
    fleet = Fleet(
        new_group("g", list(intervals), combine=Combine.MEDIAN),
        targets={name: target(name, interval_ms=interval) for name, interval in intervals.items()},
    )
    fleet.round(c=30, a=10, d=40, b=20)
    assert fleet.level().level == 30


def test_samples_may_be_numbers_of_any_kind(fleet: Fleet) -> None:
    rtts_us = np.array([10_000, 0, 20_000, 0])[::2]
    fleet.book.add(fleet.book.rows(["a", "b"]), rtts_us, np.full(2, fleet.now_ms))
    fleet.book.evaluate(fleet.now_ms)
    assert fleet.level().level == 20


def test_large_batches_in_any_order_are_taken_in() -> None:
    names = [f"t{number}" for number in range(40_000)]
    fleet = Fleet(new_group("g", names[:10]), targets={name: target(name) for name in names})
    rng = np.random.default_rng(1)
    order = rng.permutation(len(names))
    rtts_ms = np.arange(len(names)) % 400
    rows = fleet.book.rows(names)
    for number in range(2):
        sent_ms = np.full(len(names), START_MS + 1_000 * number)
        fleet.book.add(rows[order], (1_000 * rtts_ms[order]).astype(np.float32), sent_ms)
    fleet.book.evaluate(START_MS + 1_000)
    assert fleet.book.samples == 2 * len(names)
    assert fleet.shown() == (State.OK, 9, "t9: latency 9 ms")


# --- other targets and groups


def test_windows_of_targets_that_stay_are_kept(fleet: Fleet) -> None:
    fleet.rounds(30, a=10, b=100)
    fleet.targets["c"] = target("c")
    fleet.groups["new"] = new_group("new", ["b", "c"])
    fleet.configure()
    fleet.round(a=10, b=100, c=1)
    assert fleet.shown() == (State.OK, 70, "b: latency 100 ms")
    assert fleet.shown("new") == (State.OK, 70, "b: latency 100 ms")


@pytest.mark.parametrize("after", [target("a", interval_ms=999), target("a", address="192.0.2.9")])
def test_only_the_target_that_became_another_starts_again(fleet: Fleet, after: Target) -> None:
    fleet.rounds(30, a=100, b=10)
    fleet.targets["a"] = after
    fleet.configure()
    (changed,) = fleet.round()
    assert (changed.state, changed.reason) == (State.UNKNOWN, "a: no samples yet")
    fleet.round(a=10, b=10)
    assert fleet.shown() == (State.OK, 10, "a: latency 10 ms")
    assert [each.samples for each in fleet.book.explain("g", fleet.now_ms).targets] == [1, 31]


def test_why_of_a_target_that_starts_again_knows_nothing(fleet: Fleet) -> None:
    fleet.rounds(30, a=100, b=10)
    fleet.targets["a"] = target("a", interval_ms=999)
    fleet.configure()
    again, _ = fleet.book.explain("g", fleet.now_ms).targets
    assert (again.level, again.samples, again.contributions, again.band.held) == (None, 0, (), None)


def test_another_timeout_keeps_the_windows(fleet: Fleet) -> None:
    fleet.rounds(30, a=10, b=10)
    fleet.targets["a"] = target("a", timeout_ms=9_000)
    fleet.configure()
    fleet.round(step_ms=9_000, b=10)
    assert fleet.level().state is State.OK
    fleet.round(step_ms=4_000, b=10)
    assert fleet.level().reason == "a: no samples any more"


def test_bands_stay_where_thresholds_stay_and_begin_anew_where_not(fleet: Fleet) -> None:
    fleet.groups["same"] = new_group("same", ["a"])
    fleet.configure()
    for rtt, count in ((10, 30), (30, 3), (10, 5)):
        fleet.rounds(count, a=rtt, b=10)
    assert (fleet.level().level, fleet.level("same").level) == (50, 50)
    fleet.groups["g"] = new_group("g", ["a", "b"], overrides={"latency_orange_ms": 120})
    fleet.configure()
    fleet.round(a=10, b=10)
    assert (fleet.level().level, fleet.level("same").level) == (4, 50)


def test_new_thresholds_show_at_once() -> None:
    fleet = Fleet(new_group("g", ["a"]), targets={"a": target("a", interval_ms=3_600_000)})
    for _ in range(3):
        fleet.round(step_ms=3_600_000, a=30)
    fleet.groups["g"] = new_group("g", ["a"], preset="lan")
    fleet.configure()
    (changed,) = fleet.book.evaluate(fleet.now_ms + 1)
    assert (changed.level, changed.reason) == (100, "a: latency 30 ms")


def test_groups_and_targets_that_are_gone_are_forgotten(fleet: Fleet) -> None:
    fleet.rounds(3, a=10, b=10)
    fleet.targets.pop("b")
    fleet.groups = {"other": new_group("other", ["a"])}
    fleet.configure()
    fleet.round(a=10)
    assert [level.group for level in fleet.book.group_levels()] == ["other"]
    assert fleet.book.rows(["b"]).tolist() == [-1]


def test_nothing_at_all_is_fine() -> None:
    book = LevelBook()
    book.configure({}, {})
    book.add(book.rows([]), np.array([], np.float32), np.array([], np.int64))
    assert (book.evaluate(1), book.group_levels()) == ([], [])


# --- why


def test_why_shows_every_contribution_with_its_inputs(fleet: Fleet) -> None:
    for number in range(100):
        fleet.round(a=LOST if number % 20 == 0 else 20.0 + number % 2, b=10)
    explanation = fleet.book.explain("g", fleet.now_ms + 250)
    assert explanation.level == fleet.level()
    assert explanation.rank == 1
    first, second = explanation.targets
    assert (first.target, first.level, first.age_ms, first.samples, first.last) == ("a", 31, 250, 100, "answered")
    assert (first.decided_by, first.unknown) == ("loss", "")
    assert first.computed == pytest.approx(31.2, abs=0.1)
    parts = {part.name: part for part in first.contributions}
    assert list(parts) == ["loss", "now", "usual", "jitter", "jump"]
    assert (parts["loss"].unit, parts["loss"].orange, parts["loss"].red) == ("%", 2, 10)
    assert parts["loss"].inputs["lost"] == 3
    assert parts["loss"].inputs["of"] == 60
    assert parts["loss"].value == pytest.approx(100 * (3 - 1.3 * 3**0.5) / 60, abs=0.001)
    assert parts["loss"].level == pytest.approx(parts["loss"].value / 2 * 50, abs=0.1)
    assert (parts["now"].value, parts["now"].unit, parts["now"].inputs) == (21, "ms", {"samples": 5})
    assert parts["usual"].value == pytest.approx(21, rel=0.04)
    assert parts["jitter"].value == pytest.approx(1, rel=0.1)
    assert (parts["jump"].unit, parts["jump"].orange, parts["jump"].red) == ("×", 2.5, 5)
    assert parts["jump"].value == pytest.approx(1, abs=0.05)
    assert parts["jump"].inputs["baseline_ms"] == pytest.approx(20, rel=0.04)
    assert second.last_ms == 10
    assert (second.band.held, second.band.rising_to, second.band.clears_in_ms) == ("green", None, None)


def test_why_shows_the_memory_of_a_band() -> None:
    fleet = Fleet(new_group("g", ["a"]))
    fleet.rounds(20, a=10)
    fleet.rounds(3, a=70)
    (rising,) = fleet.book.explain("g", fleet.now_ms).targets
    assert (rising.band.held, rising.band.rising_to, rising.band.clears_in_ms) == ("green", "red", None)
    fleet.round(a=70)
    fleet.rounds(5, a=10)
    (falling,) = fleet.book.explain("g", fleet.now_ms).targets
    assert (falling.band.held, falling.band.rising_to, falling.band.clears_in_ms) == ("red", None, 3_000)
    assert (falling.level, falling.decided_by) == (90, "now")


def test_why_of_what_is_unknown() -> None:
    fleet = Fleet(new_group("g", ["a", "b", "c"], preset="pinglamp"))
    fleet.rounds(9, b=LOST, c=NOT_MEASURED)
    nothing, outage, unmeasured = fleet.book.explain("g", fleet.now_ms).targets
    assert (nothing.level, nothing.unknown, nothing.age_ms, nothing.contributions) == (None, "no samples yet", None, ())
    assert (outage.level, outage.last, outage.last_ms, outage.decided_by) == (100, "lost", None, "loss")
    assert {part.name: part.value for part in outage.contributions}["now"] is None
    assert outage.contributions[-1].name == "at once"
    assert (unmeasured.unknown, unmeasured.last) == ("not measured", "not measured")


def test_why_of_a_group_that_is_not_there_names_one_that_is(fleet: Fleet) -> None:
    fleet.groups["office"] = new_group("office")
    fleet.configure()
    with pytest.raises(NotFoundError, match="did you mean 'office'"):
        fleet.book.explain("offise", 0)

"""The levels of ``LevelBook`` against those of ``PlainBook``, which computes everything anew each time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain.groups import PRESETS, Combine, Group
from espfleet.domain.levels import LevelBook
from espfleet.domain.samples import LOST, NOT_MEASURED, UNREACHABLE, UNRESOLVED
from espfleet.domain.targets import Target
from tests.domain.plain_levels import PlainBook

NAMES = ("one", "two", "three", "four")
START_MS = 1_700_000_000_000


@dataclass(frozen=True)
class Spell:
    """Some rounds in which each target behaves in one way; then, perhaps, a pause and other settings."""

    rounds: int
    ways: tuple[str, ...]
    seed: int
    pause: int
    late: bool
    evaluate_every: int


WAYS = ("calm", "slow", "spiky", "lossy", "dead", "unreachable", "unresolved", "unmeasured", "patchy", "odd")
spells = st.builds(
    Spell,
    rounds=st.integers(1, 60),
    ways=st.tuples(*[st.sampled_from(WAYS)] * len(NAMES)),
    seed=st.integers(0, 2**32 - 1),
    pause=st.sampled_from([0, 0, 0, 10, 150, 1_750]),
    late=st.booleans(),
    evaluate_every=st.integers(1, 9),
)
#: Rounds follow each other so fast; windows of 400 ms stay part empty, those of 10 s fill up and turn around.
STEPS_MS = (400, 10_000)
choices = st.tuples(
    *[st.tuples(st.sampled_from([1, 2, 5]), st.sampled_from([500, 2_000]), st.sampled_from([True, True, True, False]))]
    * len(NAMES)
)
groups = st.lists(
    st.builds(
        Group,
        name=st.sampled_from(["a", "b", "c"]),
        targets=st.lists(st.sampled_from(NAMES), unique=True).map(tuple),
        preset=st.sampled_from(sorted(PRESETS)),
        combine=st.sampled_from(list(Combine)),
        quorum=st.integers(1, 3),
        paused=st.sampled_from([False, False, False, True]),
    ),
    unique_by=lambda group: group.name,
).map(lambda groups: {group.name: group for group in groups})
chapters = st.lists(st.tuples(choices, groups, st.lists(spells, min_size=1, max_size=4)), min_size=1, max_size=3)


def rtt_us(way: str, rng: np.random.Generator) -> float:
    calm = 12_000 * float(np.exp(rng.normal(0, 0.2)))
    odd = [0.0, 1e9, float("inf"), UNREACHABLE, UNRESOLVED, NOT_MEASURED, LOST, 50_000.0, 40_000.0]
    return {
        "calm": calm,
        "slow": calm * 9,
        "spiky": calm * (30 if rng.random() < 0.2 else 1),
        "lossy": LOST if rng.random() < 0.2 else calm,
        "dead": LOST,
        "unreachable": UNREACHABLE,
        "unresolved": UNRESOLVED,
        "unmeasured": NOT_MEASURED,
        "patchy": NOT_MEASURED if rng.random() < 0.6 else calm,
        "odd": float(rng.choice(odd)),
    }[way]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(STEPS_MS), chapters)
def test_the_book_gives_the_levels_that_a_full_recompute_gives(
    step_ms: int, told: list[tuple[tuple[tuple[int, int, bool], ...], Mapping[str, Group], list[Spell]]]
) -> None:
    book, plain = LevelBook(), PlainBook()
    known: dict[str, tuple[object, int]] = {}
    now_ms = START_MS
    for chosen, groups, spells in told:
        targets = {
            name: Target(name=name, address="127.0.0.1", interval_ms=each * step_ms, timeout_ms=timeout_ms)
            for name, (each, timeout_ms, here) in zip(NAMES, chosen, strict=True)
            if here
        }
        book.configure(targets, groups)
        plain.configure(targets, groups)
        known = {name: level for name, level in known.items() if name in groups}
        for spell in spells:
            rng = np.random.default_rng(spell.seed)
            held_back: list[tuple[str, int, float]] = []
            for number in range(spell.rounds):
                now_ms += step_ms
                batch = {
                    name: (now_ms - int(rng.integers(0, 30)), rtt_us(way, rng))
                    for name, (each, _, _), way in zip(NAMES, chosen, spell.ways, strict=True)
                    if now_ms // step_ms % each == 0
                }
                if spell.late and rng.random() < 0.3:
                    # Some samples come a few rounds later, some twice.
                    for name in list(batch):
                        held_back.append((name, *batch[name]))
                        if rng.random() < 0.5:
                            del batch[name]
                feed(book, plain, batch)
                if held_back and rng.random() < 0.4:
                    name, sent_ms, rtt = held_back.pop(0)
                    feed(book, plain, {name: (sent_ms, rtt)})
                if number % spell.evaluate_every == 0:
                    compare(book, plain, known, now_ms)
            now_ms += spell.pause * step_ms
            compare(book, plain, known, now_ms)


def feed(book: LevelBook, plain: PlainBook, batch: Mapping[str, tuple[int, float]]) -> None:
    sent_ms, rtts = [sent for sent, _ in batch.values()], [rtt for _, rtt in batch.values()]
    book.add(book.rows(list(batch)), np.array(rtts, np.float32), np.array(sent_ms, np.int64))
    for name, (sent, rtt) in batch.items():
        plain.add(name, sent, rtt)


def compare(book: LevelBook, plain: PlainBook, known: dict[str, tuple[object, int]], now_ms: int) -> None:
    told = {level.group for level in book.evaluate(now_ms)}
    expected = plain.evaluate(now_ms)
    assert {level.group: (level.state, level.level) for level in book.group_levels()} == expected
    assert told >= {name for name, level in expected.items() if known.get(name) != level}
    known.update(expected)

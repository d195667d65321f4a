"""Whatever clocks do and whoever waits: a new owner of a shard never takes a dead target for one that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import assume, example, given
from hypothesis import strategies as st

from espfleet.domain.groups import new_group
from espfleet.domain.levels import LevelBook
from espfleet.domain.states import ORANGE_LEVEL, State
from espfleet.domain.targets import new_target
from espfleet.services.sample_times import SampleTimes
from espfleet.store.clock import Offset
from espfleet.store.samples import StreamEntry

#: When everything began, and the time between two samples, until a loss is known, and between two heartbeats.
EPOCH_MS, STEP_MS, TIMEOUT_MS, BEAT_MS = 1_700_000_000_000, 200, 500, 500
#: A dead target turns red within that time.
RED_MS = 8_000
LONG_MS = 40_000


@dataclass(frozen=True)
class Span:
    """From one moment to another something is wrong; a clock by so much."""

    from_ms: int
    to_ms: int
    by_ms: int = 0

    def holds(self, at_ms: int) -> bool:
        return self.from_ms <= at_ms < self.to_ms


@dataclass(frozen=True)
class Story:
    """What happens: to the clock of Redis, to Redis, to the target, and who probes it until when.

    Attributes:
        dies_ms: When the target dies.
        takes_over_ms: When another prober takes the target over.
        steps: While the clock of Redis is wrong.
        away: While Redis is away.
        stands_ms: Where the ids of the stream stand when it begins, for the clock was ahead before.
    """

    dies_ms: int
    takes_over_ms: int
    steps: Sequence[Span] = field(default=())
    away: Sequence[Span] = field(default=())
    stands_ms: int = 0

    def redis_ms(self, at_ms: int) -> int:
        return EPOCH_MS + at_ms + sum(step.by_ms for step in self.steps if step.holds(at_ms))

    def entries(self, until_ms: int, second: str) -> list[tuple[StreamEntry, int, float]]:
        """Return what is in the stream then, and when each sample was sent and what it brought, as it says itself."""
        made: list[tuple[int, int, float, str, str, int]] = []
        for clock, worker, first_ms, last_ms in (
            ("one", "prober-1", 0, self.takes_over_ms),
            (second, "prober-2", self.takes_over_ms, until_ms),
        ):
            written_ms = 0
            for at_ms in range(first_ms, last_ms, STEP_MS):
                dead = at_ms >= self.dies_ms
                known_ms = at_ms + (TIMEOUT_MS if dead else 1)
                beat_ms = known_ms // BEAT_MS * BEAT_MS
                # Redis does not tell the time while it is away.
                beat_ms = min([beat_ms, *(span.from_ms for span in self.away if span.holds(beat_ms))])
                ahead_ms = self.redis_ms(beat_ms) - beat_ms
                written_ms = max([known_ms, written_ms, *(span.to_ms for span in self.away if span.holds(known_ms))])
                value = np.nan if dead else 9_000.0
                made.append((written_ms, at_ms + ahead_ms, value, worker, clock, ahead_ms))
        found, newest_ms = [], EPOCH_MS + self.stands_ms
        for number, (written_ms, sent_ms, value, worker, clock, ahead_ms) in enumerate(sorted(made)):
            if written_ms > until_ms:
                break
            newest_ms = max(newest_ms, self.redis_ms(written_ms))
            offset = Offset(clock, ahead_ms)
            found.append((StreamEntry(f"{newest_ms}-{number}", worker, number, "0f", b"", offset), sent_ms, value))
        return found

    def level(self, at_ms: int, reader: str, second: str) -> tuple[State, int, str]:
        """Return what somebody who begins then takes the target for."""
        read = self.entries(at_ms, second)
        now_ms = self.redis_ms(at_ms)
        times = SampleTimes(Known(Offset(reader, now_ms - at_ms)), [one for one, *_ in read], now_ms)  # type: ignore[arg-type]
        book = LevelBook()
        target = new_target("door", "tcp://127.0.0.1:1", STEP_MS, TIMEOUT_MS, ())
        book.configure({"door": target}, {"door": replace(new_group("door"), targets=("door",))})
        rows = book.rows(["door"])
        for entry, sent_ms, value in read:
            right = times.right(entry.offset, np.array([sent_ms], np.int64))
            if right is not None:
                book.add(rows, np.array([value], np.float32), right)
        book.evaluate(now_ms)
        (level,) = book.group_levels()
        return level.state, level.level, level.reason


@dataclass(frozen=True)
class Known:
    """Stands for the store of whoever reads."""

    known: Offset

    def offset(self) -> Offset:
        return self.known


def spans(by_ms: st.SearchStrategy[int]) -> st.SearchStrategy[list[Span]]:
    one = st.builds(
        lambda from_ms, for_ms, by: Span(from_ms, from_ms + for_ms, by),
        st.integers(0, LONG_MS),
        st.integers(1_000, 8_000),
        by_ms,
    )
    return st.lists(one, max_size=2)


offsets_ms = st.one_of(
    st.integers(-30_000, 30_000), st.integers(-600_000, 600_000), st.integers(-10_800_000, 10_800_000)
)
stories = st.builds(
    Story,
    st.integers(10_000, 25_000),
    st.integers(5_000, LONG_MS),
    spans(offsets_ms),
    spans(st.just(0)),
    st.one_of(st.just(0), st.integers(0, 2 * LONG_MS), offsets_ms),
)


@given(stories, st.integers(0, LONG_MS), st.sampled_from(["one", "two"]), st.sampled_from(["one", "three"]))
@example(Story(20_000, 40_000, stands_ms=39_000), 10_000, "one", "three")
@example(Story(20_000, 40_000, stands_ms=25_000), 10_000, "one", "one")
def test_a_dead_target_never_looks_alive(story: Story, after_ms: int, second: str, reader: str) -> None:
    at_ms = story.dies_ms + RED_MS + after_ms
    if second != "one":
        # When a machine sent something that is dead since the clock was ahead, nobody knows.
        last_ms = story.takes_over_ms
        assume(not any(step.from_ms - BEAT_MS <= last_ms <= step.to_ms + 2 * BEAT_MS for step in story.steps))
    if reader != "one":
        # Until its next heartbeat no prober knows that the clock was set, and what waited for Redis never will.
        unsure = [moment for step in story.steps for moment in (step.from_ms, step.to_ms)]
        unsure += [span.to_ms for span in story.away]
        while any(0 <= at_ms - moment <= 2 * BEAT_MS + TIMEOUT_MS for moment in unsure):
            at_ms += BEAT_MS
    state, level, reason = story.level(at_ms, reader, second)
    assert not (state is State.OK and level < ORANGE_LEVEL), (at_ms, level, reason)

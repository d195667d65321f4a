"""Replay: recorded samples go through the levels once more, with the thresholds they had or with others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from espfleet.domain.groups import Group
from espfleet.domain.levels import LevelBook
from espfleet.domain.states import GroupLevel
from espfleet.domain.targets import Target

#: How often levels are evaluated while there are samples, and while there are none.
STEP_MS = 25
PAUSE_STEP_MS = 1_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """A sample as it was recorded.

    Attributes:
        target: Name of the target.
        sent_ms: When it was sent, ms since the epoch.
        rtt_us: RTT in microseconds, or a code of ``samples``.
    """

    target: str
    sent_ms: int
    rtt_us: float


def replay(
    samples: Iterable[Recorded], targets: Mapping[str, Target], groups: Mapping[str, Group], step_ms: int = STEP_MS
) -> list[GroupLevel]:
    """Return every change of a group's level that the samples bring about, in the order of time.

    Args:
        samples: What was recorded, in the order in which it was taken in.
        targets: The targets by name; samples of others are left out.
        groups: The groups by name, with the thresholds to judge by.
        step_ms: Levels are evaluated so often, 1 or more; changes are told with the time of that evaluation.
    """
    book = LevelBook()
    book.configure(targets, groups)
    changes: list[GroupLevel] = []
    silent_after_ms = max((3 * t.interval_ms + t.timeout_ms for t in targets.values()), default=0) + PAUSE_STEP_MS
    now_ms: int | None = None
    for step_end_ms, batches in _steps(samples, step_ms):
        if now_ms is not None:
            quiet_until_ms = min(step_end_ms - step_ms, now_ms + silent_after_ms)
            for pause_ms in range(now_ms + PAUSE_STEP_MS, quiet_until_ms + 1, PAUSE_STEP_MS):
                changes += book.evaluate(pause_ms)
        for batch in batches:
            book.add(
                book.rows([sample.target for sample in batch]),
                np.array([sample.rtt_us for sample in batch], np.float32),
                np.array([sample.sent_ms for sample in batch], np.int64),
            )
        now_ms = step_end_ms
        changes += book.evaluate(now_ms)
    return changes


def _steps(samples: Iterable[Recorded], step_ms: int) -> Iterator[tuple[int, list[list[Recorded]]]]:
    """Yield the end of each step that has samples, with its samples in batches of at most one of each target."""
    end_ms = None
    batches: list[list[Recorded]] = []
    used: list[set[str]] = []
    for sample in samples:
        if end_ms is None or sample.sent_ms >= end_ms:
            if end_ms is not None:
                yield end_ms, batches
            end_ms = (sample.sent_ms // step_ms + 1) * step_ms
            batches, used = [], []
        # The batch after the last that has this target, so that its samples keep their order.
        at = next((number + 1 for number in range(len(used) - 1, -1, -1) if sample.target in used[number]), 0)
        if at == len(batches):
            batches.append([])
            used.append(set())
        batches[at].append(sample)
        used[at].add(sample.target)
    if end_ms is not None:
        yield end_ms, batches

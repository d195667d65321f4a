"""What goes on and what begins anew when a prober's share changes."""

from __future__ import annotations

import time

import pytest

from espfleet.domain.registry import Registry
from espfleet.domain.targets import Target, new_target
from espfleet.probes.paced import PacedEngine
from espfleet.probes.permission import Permission
from espfleet.workers.rig import Rig

HOUR_MS = 3_600_000


def targets(*names: str, interval_ms: int) -> list[Target]:
    return [new_target(name, f"sim://calm?seed={number}", interval_ms) for number, name in enumerate(names)]


def schedule_begins_anew(before: list[Target], after: list[Target], moment: pytest.MonkeyPatch) -> bool:
    """Tell whether engines of a share that changes after a minute follow a schedule of their own."""
    rig = Rig(Permission(icmp={}, batches=False), shards=1)
    begun_ns = time.monotonic_ns()
    try:
        rig.set_share(before, Registry(), {})
        moment.setattr(time, "monotonic_ns", lambda: begun_ns + 60_000_000_000)
        rig.set_share(after, Registry(), {})
        old, new = (lane.engine for lane in reversed(rig.lanes))
        assert isinstance(old, PacedEngine)
        assert isinstance(new, PacedEngine)
        return new.pace.origin_ns > old.pace.origin_ns
    finally:
        rig.close()


def test_a_target_probed_once_an_hour_does_not_wait_for_the_others_to_come_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = targets("a", interval_ms=HOUR_MS), targets("a", "b", interval_ms=HOUR_MS)
    assert schedule_begins_anew(one, two, monkeypatch)


def test_a_target_that_leaves_moves_nobody_elses_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = targets("a", interval_ms=HOUR_MS), targets("a", "b", interval_ms=HOUR_MS)
    assert not schedule_begins_anew(two, one, monkeypatch)


def test_a_newcomer_among_frequent_targets_follows_their_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = targets("a", interval_ms=1_000), targets("a", "b", interval_ms=1_000)
    assert not schedule_begins_anew(one, two, monkeypatch)

"""Who does what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from espfleet.domain.shards import owner_of, shard_of, share_of

THINGS = [f"thing-{number}" for number in range(400)]
WORKERS = st.lists(st.text("abc-123", min_size=1, max_size=8), unique=True, max_size=6)


def test_a_shard_is_the_same_for_ever() -> None:
    assert [shard_of(name, 8) for name in ("default", "office", "3c71bff93720")] == [7, 2, 4]


@given(st.text(), st.integers(1, 64))
def test_a_shard_is_one_of_them(name: str, shards: int) -> None:
    assert 0 <= shard_of(name, shards) < shards


@given(WORKERS)
def test_every_thing_has_one_owner(workers: list[str]) -> None:
    shares = [thing for worker in workers for thing in share_of(worker, workers, THINGS)]
    assert sorted(shares) == (sorted(THINGS) if workers else [])


@given(WORKERS, st.data())
def test_a_worker_that_goes_moves_only_what_it_had(workers: list[str], data: st.DataObject) -> None:
    if len(workers) < 2:
        return
    gone = data.draw(st.sampled_from(workers))
    left = [worker for worker in workers if worker != gone]
    for thing in THINGS[:60]:
        before = owner_of(thing, workers)
        assert owner_of(thing, left) == before or before == gone


@given(WORKERS)
def test_the_order_of_workers_does_not_matter(workers: list[str]) -> None:
    assert all(owner_of(thing, workers) == owner_of(thing, workers[::-1]) for thing in THINGS[:60])


def test_shares_are_about_equal() -> None:
    workers = ["one", "two", "three", "four"]
    assert all(60 <= len(share_of(worker, workers, THINGS)) <= 140 for worker in workers)

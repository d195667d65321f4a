"""History holds what the streams held, in bounded memory, whoever writes it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from espfleet.domain.samples import LOST, Batch, Layout, pack
from espfleet.domain.shards import shard_of
from espfleet.errors import StoreUnavailableError
from espfleet.services import groups, samples, targets
from espfleet.store import registry
from espfleet.store import samples as stream
from espfleet.store.client import Store
from espfleet.store.history import RESOLUTIONS, read
from espfleet.workers.history import BUDGET_BYTES, GATHERED, MINUTE_MS, Chronicler, affordable

SECONDS = 130


async def measure(store: Store, names: tuple[str, ...], until_ms: int, late_worker: str = "") -> None:
    """Write one sample a second of each target: 10 ms, the last of each ten lost; only now, if a late worker did it."""
    layout = Layout(1_000, 1_000, names)
    current = await registry.load(store)
    for shard in {shard for name in names for shard in current.shards_of_target(name, store.shards)}:
        await stream.put_layout(store, shard, layout)
        for number in range(SECONDS):
            at_ms = until_ms - (SECONDS - number) * 1_000
            rtt_us = np.full(len(names), LOST if at_ms // 1_000 % 10 == 9 else 10_000.0, np.float32)
            blob = pack(Batch(np.arange(len(names), dtype=np.int32), rtt_us, at_ms * 1_000_000, 0))
            words = ("w", late_worker or "prober", "q", number + 1, "l", layout.layout_id, "b", blob)
            await store.do("XADD", store.keys.samples(shard), "*" if late_worker else f"{at_ms + 100}-1", *words)


@pytest.mark.parametrize("gathered", [GATHERED, 7])
async def test_blocks_hold_every_sample_once(store: Store, monkeypatch: pytest.MonkeyPatch, gathered: int) -> None:
    monkeypatch.setattr("espfleet.workers.history.GATHERED", gathered)
    # In two groups of different shards: its samples go to two streams.
    await targets.add(store, name="router", address="127.0.0.1")
    other = next(f"g{number}" for number in range(99) if shard_of(f"g{number}", 8) != shard_of("default", 8))
    await groups.add(store, name=other, targets=["router"])
    now_ms = await store.time_ms()
    await measure(store, ("router",), now_ms)
    chronicler = Chronicler(store, "one")
    await chronicler.step()
    assert chronicler.leads
    seconds, tens, minutes = RESOLUTIONS
    whole_ms = (now_ms - 100_000) // 10_000 * 10_000
    for point in await read(store, tens, "router", whole_ms, whole_ms + 80_000):
        assert (point.count, point.lost, point.median_ms) == (10, 1, 10.0)
    assert [point.count for point in await read(store, seconds, "router", whole_ms, whole_ms + 10_000)] == [1] * 10
    assert all(point.count == 60 for point in (await read(store, minutes, "router", now_ms - 120_000, now_ms))[1:])
    found = await samples.history(store, name="router", now_ms=now_ms, span_ms=600_000)
    assert (found.source, found.step_ms) == ("10s", 10_000)
    assert 12 <= len(found.points) <= 14
    raw = await samples.history(store, name="router", now_ms=now_ms, span_ms=60_000)
    assert (raw.source, sum(point.count for point in raw.points)) == ("stream", 60)
    ended = await samples.history(store, name="router", now_ms=now_ms, span_ms=60_000, until_ms=now_ms - 60_000)
    assert (ended.from_ms, ended.to_ms) == (now_ms - 120_000, now_ms - 60_000)
    assert 50 <= sum(point.count for point in ended.points) <= 70
    assert all(ended.from_ms - ended.step_ms < point.at_ms <= ended.to_ms for point in ended.points)


async def test_samples_of_a_clock_that_is_far_ahead_keep_no_others_in_memory(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    shard = shard_of("default", store.shards)
    now_ms = await store.time_ms()
    layout = Layout(1_000, 1_000, ("router",))
    await stream.put_layout(store, shard, layout)
    rtt_us = np.full(1, 10_000.0, np.float32)
    blob = pack(Batch(np.zeros(1, np.int32), rtt_us, (now_ms + 3_600_000) * 1_000_000, 0))
    words = ("w", "fast", "q", 1, "l", layout.layout_id, "b", blob)
    await store.do("XADD", store.keys.samples(shard), f"{now_ms - 190_000}-1", *words)
    await measure(store, ("router",), now_ms)
    chronicler = Chronicler(store, "one")
    await chronicler.step()
    assert chronicler._pieces
    assert max(piece.sent_ms[-1] for piece in chronicler._pieces) <= now_ms


async def test_no_sample_is_left_out_when_redis_goes_away_while_they_are_read(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("router", "door"):
        await targets.add(store, name=name, address="127.0.0.1")
    now_ms = await store.time_ms()
    await measure(store, ("router",), now_ms)
    await measure(store, ("router", "door"), now_ms + 1, late_worker="other")
    chronicler = Chronicler(store, "one")
    usual, asked = stream.get_layout, []

    async def sometimes(*words: Any) -> Layout | None:
        asked.append(words)
        if len(asked) == 2:
            raise StoreUnavailableError("it went away")
        return await usual(*words)

    monkeypatch.setattr(stream, "get_layout", sometimes)
    with pytest.raises(StoreUnavailableError):
        await chronicler.step()
    await chronicler.step()
    assert len(asked) == 3
    whole_ms = (now_ms - 100_000) // 10_000 * 10_000
    for name, count in (("router", 20), ("door", 10)):
        found = await read(store, RESOLUTIONS[1], name, whole_ms, whole_ms + 80_000)
        assert found
        assert {point.count for point in found} == {count}


async def test_a_second_chronicler_waits_and_changes_nothing_when_it_takes_over(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    now_ms = await store.time_ms()
    await measure(store, ("router",), now_ms)
    first, second = Chronicler(store, "one"), Chronicler(store, "two")
    await first.step()
    await second.step()
    assert (first.leads, second.leads) == (True, False)
    before = await read(store, RESOLUTIONS[1], "router", now_ms - 200_000, now_ms)
    await store.do("DEL", store.keys.owner("lead:history"))
    await second.step()
    assert second.leads
    assert await read(store, RESOLUTIONS[1], "router", now_ms - 200_000, now_ms) == before


async def test_every_string_of_history_expires(store: Store) -> None:
    await targets.add(store, name="router", address="127.0.0.1")
    await measure(store, ("router",), await store.time_ms())
    await Chronicler(store, "one").step()
    kept = [key async for key in store.redis.scan_iter(match="*:history:1*")]
    assert kept
    for key in kept:
        assert 0 < await store.redis.pttl(key) <= max(one.kept_ms + one.run_ms for one in RESOLUTIONS)


def test_many_targets_keep_the_coarser_resolutions_only() -> None:
    assert [one.name for one in affordable(100)] == ["1m", "10s", "1s"]
    assert [one.name for one in affordable(100_000)] == ["1m"]
    for count in (1, 1_000, 3_000, 5_000):
        assert count * sum(one.target_bytes for one in affordable(count)) <= BUDGET_BYTES


def test_blocks_lie_within_one_string() -> None:
    for one in RESOLUTIONS:
        assert one.run_ms % MINUTE_MS == 0

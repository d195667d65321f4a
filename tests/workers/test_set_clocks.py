"""A clock that is set, of Redis or of a worker, stops nothing and loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from espfleet.domain.devices import Reason
from espfleet.domain.points import Point
from espfleet.domain.samples import Batch, Layout, pack
from espfleet.domain.shards import shard_of
from espfleet.domain.sizes import USUAL
from espfleet.domain.states import State
from espfleet.exports.datadog import Datadog
from espfleet.services import targets
from espfleet.store import levels, locks, points, presence, registry, turns, workers
from espfleet.store import samples as stream
from espfleet.store.client import Store
from espfleet.store.history import RESOLUTIONS, read
from espfleet.store.leases import Lease
from espfleet.store.samples import ShardReader
from espfleet.workers.history import Chronicler
from espfleet.workers.membership import Membership
from espfleet.workers.sender import Sender
from espfleet.workers.shard import BEAT_S, Shard
from espfleet.workers.steward import Steward
from tests.workers.test_sender import Sink, serving_sink

HOUR_MS = 3_600_000


async def measure(store: Store, *, sent_ms: int, written_ms: int, count: int) -> int:
    """Write a sample a second of one target, up to ``sent_ms``; return the shard of its group."""
    await targets.add(store, name="router", address="127.0.0.1")
    shard, layout = shard_of("default", store.shards), Layout(1_000, 1_000, ("router",))
    await stream.put_layout(store, shard, layout)
    for number in range(count):
        at_ms = sent_ms - (count - 1 - number) * 1_000
        blob = pack(Batch(np.zeros(1, np.int32), np.full(1, 9_000.0, np.float32), at_ms * 1_000_000, 0))
        words = ("w", "prober", "q", number + 1, "l", layout.layout_id, "b", blob)
        await store.do("XADD", store.keys.samples(shard), f"{written_ms}-{number + 1}", *words)
    return shard


async def owned(store: Store, number: int) -> Shard:
    lease = await Lease.take(store, f"s{number}", "one", 60_000)
    assert lease is not None
    shard = Shard(store, number, lease.fence, ShardReader(store, number, "one"), USUAL)
    await shard.configure(await registry.load(store))
    return shard


async def outlast(store: Store, key: str) -> None:
    """Let a key last as it does when the clock of Redis is set back by an hour."""
    assert await store.do("PEXPIRE", key, HOUR_MS)


async def test_the_duty_of_a_dead_worker_passes_on_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    dead = await Lease.take(store, "s3", "dead", 1_500)
    assert dead is not None
    await outlast(store, store.keys.owner("s3"))
    assert await Lease.take(store, "s3", "one", 1_500) is None
    assert 0 < await store.do("PTTL", store.keys.owner("s3")) <= 1_500
    # Whoever asks later does not make it last.
    await store.do("PEXPIRE", store.keys.owner("s3"), 100)
    assert await Lease.take(store, "s3", "one", 1_500) is None
    assert await store.do("PTTL", store.keys.owner("s3")) <= 100


async def test_a_dead_worker_loses_its_share_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    await workers.beat(store, "leveler", "dead", {}, 1_500)
    await outlast(store, store.keys.worker("leveler", "dead"))
    one = Membership(store, "leveler", "one", 1_500)
    await one.beat({})
    assert one.names == ("dead", "one")
    assert 0 < await store.do("PTTL", store.keys.worker("leveler", "dead")) <= 1_500
    await store.do("PEXPIRE", store.keys.worker("leveler", "dead"), 100)
    await one.beat({})
    assert await store.do("PTTL", store.keys.worker("leveler", "dead")) <= 100


async def test_the_lock_of_somebody_dead_ends_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    board = "3c71bff93720"
    assert await locks.take(store, board, ttl_ms=2_000, wait_ms=0)
    key = store.keys.lock(shard_of(board, store.shards), board, "request")
    await outlast(store, key)
    assert await locks.take(store, board, ttl_ms=60_000, wait_ms=0) is None
    assert 0 < await store.do("PTTL", key) <= 2_000


async def test_who_is_there_does_not_outlast_a_dead_gateway_after_the_clock_of_redis_was_set_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    lamp = "3c71bff93720"
    part = shard_of(lamp, store.shards)
    steward = Steward(store, "one")
    now_ms = await store.time_ms()

    async def go_dark() -> None:
        """Let a lamp and a shard go dark in the hour that the clock is ahead."""
        await presence.came(store, lamp, presence.Session(session_id="s", gateway="g", watchdog_ms=3_000))
        await levels.publish(store, 3, lease.fence, [], now_ms)
        await store.redis.zadd(store.keys.due(part), {lamp: now_ms + HOUR_MS})
        await outlast(store, store.keys.alive(part, lamp))
        await outlast(store, store.keys.beat(3))

    async def held() -> bool:
        keys = (store.keys.alive(part, lamp), store.keys.beat(3))
        ends_ms = float(await store.do("ZSCORE", store.keys.due(part), lamp))
        return ends_ms < now_ms + 60_000 and all([0 < await store.do("PTTL", key) <= 3_000 for key in keys])

    lease = await Lease.take(store, "s3", "dead", 60_000)
    assert lease is not None
    # A steward that begins does not know what was before; one that goes on sees the clock go back.
    await go_dark()
    await steward._sweep()
    assert await held()
    await go_dark()
    await steward._sweep()
    assert not await held()
    at_ms = await store.time_ms()

    async def set_back_ms() -> int:
        return at_ms - HOUR_MS

    with monkeypatch.context() as wrong:
        wrong.setattr(store, "time_ms", set_back_ms)
        await steward._sweep()
    assert await held()
    # It goes offline as any other does, and not at a time that is yet to come.
    await store.do("DEL", store.keys.alive(part, lamp))
    await store.redis.zadd(store.keys.due(part), {lamp: now_ms + HOUR_MS})
    (gone,) = await presence.sweep(store, everywhere=True)
    assert (gone.device_id, gone.reason) == (lamp, Reason.GATEWAY)
    info = (await presence.read_presence(store, [lamp]))[lamp]
    assert info.changed_ms is not None
    assert info.changed_ms < now_ms + 60_000


async def test_levels_come_again_at_once_when_the_clock_of_redis_was_set_back(store: Store) -> None:
    await stream.init_consumers(store)
    now_ms = await store.time_ms()
    # A stream never goes back: it still counts from where the clock was ahead.
    shard = await owned(store, await measure(store, sent_ms=now_ms, written_ms=now_ms + HOUR_MS, count=5))
    await shard.configure(await registry.load(store))
    assert await shard.rebuild(now_ms) == 5
    assert not await turns.write(store, [shard.outcome(now_ms)], now_ms)
    found = (await levels.read_levels(store)).levels["default"]
    assert (found.state, found.reason) == (State.OK, "router: latency 9 ms")


async def test_what_was_measured_while_all_clocks_were_ahead_is_not_taken_for_the_present(store: Store) -> None:
    await stream.init_consumers(store)
    now_ms = await store.time_ms()
    number = await measure(store, sent_ms=now_ms + HOUR_MS, written_ms=now_ms + HOUR_MS, count=5)
    shard = await owned(store, number)
    assert await shard.rebuild(now_ms) == 0
    assert not await turns.write(store, [shard.outcome(now_ms)], now_ms)
    found = (await levels.read_levels(store)).levels["default"]
    assert (found.state, found.reason) == (State.UNKNOWN, "router: no samples yet")
    # What comes now is known to be of now, whatever the clocks say.
    entries = await shard.reader.history(0)
    for_now = [replace(one, seq=one.seq + 5, entry_id=f"{now_ms + HOUR_MS}-{20 + n}") for n, one in enumerate(entries)]
    assert await shard.add(for_now, now_ms) == 5
    assert [level.state for level in shard._book.evaluate(now_ms)] == [State.OK]


async def test_a_shard_beats_on_when_the_clock_of_redis_was_set_back(store: Store) -> None:
    now_ms = await store.time_ms()
    shard = await owned(store, 3)
    for at_ms in (now_ms, now_ms - HOUR_MS):
        assert not await turns.write(store, [shard.outcome(at_ms)], at_ms)
        await asyncio.sleep(BEAT_S + 0.05)
    assert int(await store.do("GET", store.keys.beat(3))) == now_ms - HOUR_MS


@pytest.mark.parametrize("set_ms", [HOUR_MS, -HOUR_MS])
async def test_the_past_is_written_on_when_the_clock_of_redis_was_set_and_set_right(
    store: Store, monkeypatch: pytest.MonkeyPatch, set_ms: int
) -> None:
    now_ms = await store.time_ms()
    chronicler = Chronicler(store, "one")

    async def wrong_ms() -> int:
        return now_ms + set_ms

    with monkeypatch.context() as wrong:
        wrong.setattr(store, "time_ms", wrong_ms)
        await chronicler.step()
    await measure(store, sent_ms=now_ms, written_ms=now_ms, count=100)
    await chronicler.step()
    tens = RESOLUTIONS[1]
    found = await read(store, tens, "router", now_ms - 60_000, now_ms - 40_000)
    assert found
    assert all(point.count == 10 for point in found[1:-1])


@pytest.fixture
def sink() -> Iterator[Sink]:
    with serving_sink() as made:
        yield made


@pytest.mark.parametrize("wrong_by_s", [-7_200, 7_200])
async def test_no_metric_is_given_up_because_the_clock_of_a_steward_is_wrong(
    store: Store, sink: Sink, wrong_by_s: int
) -> None:
    await points.append(store, [Point("m", 1.0, int(time.time()))])
    datadog = Datadog(url=sink.url, api_key="k3y", timeout_s=2)
    sender = Sender(store, datadog.post, clock=lambda: time.time() + wrong_by_s)
    assert await sender.step() == 1
    assert (sink.accepted, sender.buried) == ([("m", 1.0)], 0)


async def test_who_is_there_does_not_outlast_its_gateway_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    # Of so many, each refresh looks at one at least.
    ids = [one for n in range(400) if shard_of(one := f"{n:012x}", store.shards) == 0][:32]
    for device_id in ids:
        await presence.came(store, device_id, presence.Session(session_id="s", gateway="g", watchdog_ms=60_000))
    now_ms, due = await store.time_ms(), store.keys.due(0)
    await store.redis.zadd(due, dict.fromkeys(ids, now_ms + HOUR_MS))
    await presence.refresh(store, "g", dict.fromkeys(ids, 60_000))
    assert await store.do("ZCOUNT", due, "-inf", now_ms + HOUR_MS - 1) >= 1

"""A clock that is set, of Redis or of a worker, stops nothing and loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from espfleet.domain.contributions import FULL_LEVEL
from espfleet.domain.devices import Reason
from espfleet.domain.points import Point
from espfleet.domain.samples import Batch, Layout, pack, unpack
from espfleet.domain.shards import shard_of
from espfleet.domain.sizes import USUAL
from espfleet.domain.states import State
from espfleet.errors import StoreUnavailableError
from espfleet.exports.datadog import Datadog
from espfleet.services import targets
from espfleet.store import answers, cooldowns, levels, locks, points, presence, registry, turns, workers
from espfleet.store import samples as stream
from espfleet.store.client import Store, open_store
from espfleet.store.clock import Offset, steady_clock
from espfleet.store.history import RESOLUTIONS, read
from espfleet.store.leases import Lease
from espfleet.store.samples import ShardReader
from espfleet.workers.exporter import Exporter
from espfleet.workers.history import Chronicler
from espfleet.workers.leveler import Leveler
from espfleet.workers.membership import Membership
from espfleet.workers.outbox import Outbox
from espfleet.workers.prober import Prober, ProberSettings
from espfleet.workers.sender import Sender
from espfleet.workers.shard import BEAT_S, Shard
from espfleet.workers.steward import Steward
from tests.conftest import wait_until
from tests.workers.test_sender import Sink, serving_sink

HOUR_MS = 3_600_000


async def write(
    store: Store,
    name: str,
    sent: Sequence[tuple[int, float, Offset]],
    *,
    written_ms: int = 0,
    timeout_ms: int = 500,
) -> int:
    """Write samples of one target, one an entry; return the shard of its group.

    Args:
        store: Where to.
        name: Name of the target.
        sent: When each was sent by what its prober knew of Redis's clock, what it brought in µs, and how that was told.
        written_ms: When the last was written by Redis's clock, each of the others 200 ms before the next; without, now.
        timeout_ms: Of the target: it and 0.6 s after its last sample nothing is known.
    """
    await targets.add(store, name=name, address="127.0.0.1", interval_ms=200, timeout_ms=timeout_ms)
    shard, layout = shard_of("default", store.shards), Layout(200, timeout_ms, (name,))
    await stream.put_layout(store, shard, layout)
    written_ms = written_ms or await store.time_ms()
    for number, (sent_ms, value, offset) in enumerate(sent):
        blob = pack(Batch(np.zeros(1, np.int32), np.full(1, value, np.float32), sent_ms * 1_000_000, 0))
        words = ("w", "prober", "q", number + 1, "l", layout.layout_id, "b", blob, "c", offset.to_text())
        entry_id = f"{written_ms - (len(sent) - 1 - number) * 200}-{number + 1}"
        await store.do("XADD", store.keys.samples(shard), entry_id, *words)
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


async def test_a_cooldown_lasts_no_longer_than_it_was_to_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    board = "3c71bff93720"
    assert await cooldowns.start(store, board, "water", 2_000) == 0
    key = store.keys.cooldown(shard_of(board, store.shards), board, "water")
    await outlast(store, key)
    assert 0 < await cooldowns.start(store, board, "water", 60_000) <= 2_000
    # Whoever asks again does not make it last.
    await store.do("PEXPIRE", key, 100)
    assert await cooldowns.start(store, board, "water", 60_000) <= 100


async def test_a_request_that_nobody_answers_can_be_repeated_after_the_clock_of_redis_was_set_back(
    store: Store,
) -> None:
    assert await answers.begin(store, "mark", "one") is None
    key = store.keys.answered("mark")
    await outlast(store, key)
    assert await answers.begin(store, "mark", "one") == answers.Answer("one", 0, "", "")
    assert 0 < await store.do("PTTL", key) <= answers.KEPT_MS


async def test_who_is_there_does_not_outlast_a_dead_gateway_after_the_clock_of_redis_was_set_back(
    store: Store,
) -> None:
    lamp = "3c71bff93720"
    part = shard_of(lamp, store.shards)
    steward = Steward(store, "one")
    now_ms = await store.time_ms()

    async def go_dark() -> None:
        """Let a lamp and a shard go dark in the hour that the clock is ahead."""
        await presence.came(store, lamp, presence.Session(session_id="s", gateway="g", watchdog_ms=3_000))
        await levels.publish(store, 3, lease.fence, [], now_ms)
        await levels.put_snapshots(store, {3: b"{}"})
        await store.redis.zadd(store.keys.due(part), {lamp: now_ms + HOUR_MS})
        await outlast(store, store.keys.alive(part, lamp))
        await outlast(store, store.keys.beat(3))
        await outlast(store, store.keys.snapshot(3))

    async def held() -> bool:
        keys = (store.keys.alive(part, lamp), store.keys.beat(3), store.keys.snapshot(3))
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
    # As it is known to one that saw the clock an hour ahead.
    steward._swept_at_ms = [at_ms + HOUR_MS for at_ms in steward._swept_at_ms]
    await steward._sweep()
    assert await held()
    # It goes offline as any other does, and not at a time that is yet to come.
    await store.do("DEL", store.keys.alive(part, lamp))
    await store.redis.zadd(store.keys.due(part), {lamp: now_ms + HOUR_MS})
    (gone,) = await presence.sweep(store, await presence.times(store), everywhere=True)
    assert (gone.device_id, gone.reason) == (lamp, Reason.GATEWAY)
    info = (await presence.read_presence(store, [lamp]))[lamp]
    assert info.changed_ms is not None
    assert info.changed_ms < now_ms + 60_000


def ahead_by(offset: Offset, more_ms: int) -> Offset:
    return replace(offset, ahead_ms=offset.ahead_ms + more_ms)


async def test_levels_come_again_at_once_when_the_clock_of_redis_was_set_back(store: Store) -> None:
    await stream.init_consumers(store)
    now_ms, offset = await store.time_ms(), store.offset()
    # A stream never goes back: it still counts from where the clock was ahead.
    sent = [(now_ms - 200 * ago, 9_000.0, offset) for ago in (4, 3, 2, 1, 0)]
    shard = await owned(store, await write(store, "router", sent, written_ms=now_ms + HOUR_MS))
    assert await shard.rebuild(now_ms) == 5
    assert not await turns.write(store, [shard.outcome(now_ms)], now_ms)
    found = (await levels.read_levels(store)).levels["default"]
    assert (found.state, found.reason) == (State.OK, "router: latency 9 ms")


async def test_what_a_dead_machine_measured_while_the_clock_was_ahead_is_not_taken_for_the_present(
    store: Store,
) -> None:
    await stream.init_consumers(store)
    now_ms = await store.time_ms()
    sent = [(now_ms + HOUR_MS - 200 * ago, 9_000.0, Offset("dead", HOUR_MS)) for ago in (4, 3, 2, 1, 0)]
    shard = await owned(store, await write(store, "router", sent, written_ms=now_ms + HOUR_MS))
    assert await shard.rebuild(now_ms) == 0
    assert not await turns.write(store, [shard.outcome(now_ms)], now_ms)
    found = (await levels.read_levels(store)).levels["default"]
    assert (found.state, found.reason) == (State.UNKNOWN, "router: no samples yet")


@pytest.mark.parametrize("written_ahead_ms", [0, 2_000, 30_000, HOUR_MS])
@pytest.mark.parametrize("wrong_ms", [-HOUR_MS, -20_000, 0, 20_000, HOUR_MS])
async def test_a_dead_target_is_known_to_be_dead_by_a_new_owner_whatever_clocks_showed(
    store: Store, written_ahead_ms: int, wrong_ms: int
) -> None:
    await stream.init_consumers(store)
    now_ms, right = await store.time_ms(), store.offset()
    # It answers for 30 s and is dead for 10; for 5 s of these the clock of Redis was wrong. The stream stands where an
    # earlier step has left it.
    sent = []
    for ago_ms in range(40_000, 0, -200):
        offset = ahead_by(right, wrong_ms if 3_000 < ago_ms <= 8_000 else 0)
        value = np.nan if ago_ms <= 10_000 else 9_000.0
        sent.append((now_ms - ago_ms + offset.ahead_ms - right.ahead_ms, value, offset))
    number = await write(store, "door", sent, written_ms=now_ms + written_ahead_ms)
    shard = await owned(store, number)
    assert await shard.rebuild(now_ms) == len(sent)
    (level,) = shard._book.evaluate(now_ms)
    assert (level.state, level.level) == (State.OK, FULL_LEVEL)


@pytest.mark.parametrize("set_ms", [-HOUR_MS, -20_000, 20_000, HOUR_MS])
async def test_levels_go_on_when_the_clock_of_redis_is_set(
    store: Store, monkeypatch: pytest.MonkeyPatch, set_ms: int
) -> None:
    await stream.init_consumers(store)
    now_ms, right = await store.time_ms(), store.offset()
    sent = [(now_ms - ago_ms, np.nan, right) for ago_ms in range(10_000, 0, -200)]
    # A busy machine may take long from here to the end.
    await write(store, "door", sent, timeout_ms=10_000)
    leveler = Leveler(store, "one")
    await leveler._beat()
    await leveler._claim()
    await leveler._work()
    before = (await levels.read_levels(store)).levels["default"]
    assert before.level == FULL_LEVEL
    told = store.told

    def set_told(asked_us: int, reply: Sequence[bytes | int]) -> int:
        seconds, microseconds = reply
        return told(asked_us, (int(seconds) + set_ms // 1_000, microseconds))

    monkeypatch.setattr(store, "told", set_told)
    wrong_ms = await store.time_ms()
    assert abs(wrong_ms - now_ms - set_ms) < 20_000
    await leveler._work()
    assert not leveler._shards
    await leveler._work()
    assert leveler._shards
    (known,) = [
        one for shard in leveler._shards.values() for one in shard._book.group_levels() if one.group == "default"
    ]
    assert (known.state, known.level, known.reason) == (State.OK, FULL_LEVEL, before.reason)


async def test_who_could_not_reach_redis_learns_its_time_before_it_writes_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    right_ms, usual = await store.time_ms(), stream.append
    known_ms: list[int] = []

    async def away_once(*words: Any) -> set[tuple[int, str]]:
        known_ms.append(store.now_ms())
        if len(known_ms) == 1:
            raise StoreUnavailableError("it is away")
        return await usual(*words)

    monkeypatch.setattr(stream, "append", away_once)
    # The clock of Redis is set while it is away.
    store.told(store.ticks_us(), (right_ms // 1_000 - 3_600, 0))
    outbox = Outbox(store, "prober")
    outbox.put(3, Layout(200, 500, ("door",)), b"", 1, store.offset())
    task = asyncio.create_task(outbox.run())
    try:
        await wait_until(lambda: len(known_ms) == 2)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert known_ms[0] < right_ms - 3_000_000
    assert abs(known_ms[1] - right_ms) < 60_000


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
    offset = store.offset()
    await write(store, "router", [(now_ms - ago_ms, 9_000.0, offset) for ago_ms in range(100_000, 0, -200)])
    await chronicler.step()
    tens = RESOLUTIONS[1]
    found = await read(store, tens, "router", now_ms - 60_000, now_ms - 40_000)
    assert found
    assert all(point.count == 50 for point in found[1:-1])


@pytest.mark.parametrize("wrong_by_s", [HOUR_MS // 1_000, -HOUR_MS // 1_000])
async def test_what_a_prober_measures_whose_clock_is_wrong_has_the_time_of_redis(
    store: Store, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    right_ns = time.time_ns
    await stream.init_consumers(store)
    await targets.add(store, name="router", address="sim://calm?seed=1", interval_ms=200)
    reader = ShardReader(store, shard_of("default", store.shards), "test")
    began_ms = await store.time_ms()
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + wrong_by_s * 1_000_000_000)
    async with open_store(store.url, name="wrong") as wrong:
        task = asyncio.create_task(Prober(wrong, ProberSettings(name="one")).run())
        try:
            await wait_until(lambda: reader.since("-"))
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    for entry in await reader.since("-"):
        sent_ms = unpack(entry.blob).sent_ms()
        assert began_ms - 200 <= sent_ms[0] <= await store.time_ms()
        assert entry.offset is not None
        assert entry.offset.clock == steady_clock()


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


@pytest.mark.parametrize("wrong_by_s", [-7_200, 7_200])
async def test_no_metric_is_given_up_because_the_clock_of_redis_is_wrong(
    store: Store, sink: Sink, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    at_s = time.time() + wrong_by_s
    await points.append(store, [Point("m", 1.0, int(time.time()))])

    async def wrong_ms() -> int:
        return store._clock.told(store._clock.ticks_us(), int(at_s), 0)

    monkeypatch.setattr(store, "time_ms", wrong_ms)
    await store.time_ms()
    exporter = Exporter(store, "one", datadog=Datadog(url=sink.url, api_key="k3y", timeout_s=2))
    while not sink.accepted:
        await exporter.step()
        assert exporter.figures()["buried"] == 0
    assert ("m", 1.0) in sink.accepted


async def test_who_is_there_does_not_outlast_its_gateway_after_the_clock_of_redis_was_set_back(store: Store) -> None:
    # Of so many, each refresh looks at one at least.
    ids = [one for n in range(400) if shard_of(one := f"{n:012x}", store.shards) == 0][:32]
    for device_id in ids:
        await presence.came(store, device_id, presence.Session(session_id="s", gateway="g", watchdog_ms=60_000))
    now_ms, due = await store.time_ms(), store.keys.due(0)
    await store.redis.zadd(due, dict.fromkeys(ids, now_ms + HOUR_MS))
    await presence.refresh(store, "g", dict.fromkeys(ids, 60_000))
    assert await store.do("ZCOUNT", due, "-inf", now_ms + HOUR_MS - 1) >= 1

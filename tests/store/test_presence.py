"""Who is there: came, heard, late, went, and found gone by the sweep."""

from __future__ import annotations

import asyncio

import pytest

from espfleet.domain.devices import Dialect, Presence, Reason
from espfleet.domain.shards import shard_of
from espfleet.store import events, presence, readings
from espfleet.store.client import Store
from espfleet.store.presence import Gone, PresenceInfo, Session
from tests.conftest import wait_until

ID = "3c71bff93720"
OTHER = "3c71bff93721"


def session(number: int = 1, watchdog_ms: int = 60_000, gateway: str = "gateway 1") -> Session:
    return Session(
        session_id=f"session-{number}",
        gateway=gateway,
        watchdog_ms=watchdog_ms,
        peer="10.0.0.7:4711",
        dialect=Dialect.PINGLAMP,
    )


async def info(store: Store, device_id: str = ID) -> PresenceInfo:
    return (await presence.read_presence(store, [device_id]))[device_id]


async def told(store: Store) -> list[tuple[str, str | None]]:
    """Return presence and reason of each event so far."""
    return [(event.fields["presence"], event.fields["reason"]) for event in await events.latest(store)]


async def until_offline(store: Store, device_id: str = ID) -> None:
    async def is_offline() -> bool:
        return (await info(store, device_id)).presence is Presence.OFFLINE

    await wait_until(is_offline)


async def test_a_device_that_never_came(store: Store) -> None:
    assert await presence.read_presence(store, [ID, OTHER]) == {ID: presence.NEVER, OTHER: presence.NEVER}
    assert await presence.read_presence(store, []) == {}


@pytest.mark.single
async def test_a_thousand_devices_may_come_at_once(store: Store) -> None:
    ids = [f"{number:012x}" for number in range(1_000)]
    await presence.came_all(store, {device_id: session(number) for number, device_id in enumerate(ids)})
    found = await presence.read_presence(store, ids)

    assert [found[device_id].session_id for device_id in ids] == [f"session-{number}" for number in range(1_000)]
    assert {one.presence for one in found.values()} == {Presence.LIVE}
    assert [event.fields["device"] for event in await events.latest(store, 1_000)] == ids


async def test_a_device_that_came_is_live(store: Store) -> None:
    now_ms = await store.time_ms()
    await presence.came(store, ID, session())
    found = await info(store)

    assert (found.presence, found.reason, found.gateway) == (Presence.LIVE, None, "gateway 1")
    assert (found.session_id, found.peer, found.dialect) == ("session-1", "10.0.0.7:4711", Dialect.PINGLAMP)
    for at_ms in (found.since_ms, found.seen_ms, found.changed_ms):
        assert at_ms is not None
        assert 0 <= at_ms - now_ms < 1_000
    assert await told(store) == [("live", None)]


async def test_refreshing_keeps_devices_alive(store: Store) -> None:
    ids = [f"{number:012x}" for number in range(1_200)]
    for device_id in ids[:3]:
        await presence.came(store, device_id, session(watchdog_ms=100))
    missing = await presence.refresh(store, "gateway 1", dict.fromkeys(ids, 50_000))
    assert set(missing) == set(ids[3:])
    await asyncio.sleep(0.15)
    found = await presence.read_presence(store, ids)
    assert {one.presence for one in found.values()} == {Presence.LIVE}
    assert await presence.sweep(store, await presence.times(store)) == []


async def test_a_device_with_no_time_left_is_not_refreshed(store: Store) -> None:
    await presence.came(store, ID, session(watchdog_ms=30))
    await until_offline(store)
    assert await presence.refresh(store, "gateway 1", {ID: 0}) == []
    assert (await info(store)).presence is Presence.OFFLINE


async def test_when_it_was_heard_last_follows_from_the_time_it_has_left(store: Store) -> None:
    await presence.came(store, ID, session(watchdog_ms=3_000))
    came_ms = (await info(store)).seen_ms
    assert came_ms is not None
    await presence.refresh(store, "gateway 1", {ID: 3_000})
    await wait_until(lambda: seen_after(store, came_ms - 1))
    await asyncio.sleep(0.02)
    now_ms = await store.time_ms()
    # It was silent for a second, so it is not younger than what was known.
    await presence.refresh(store, "gateway 1", {ID: 2_000})
    found = await info(store)
    assert found.seen_ms is not None
    assert came_ms <= found.seen_ms <= now_ms


async def seen_after(store: Store, at_ms: int) -> bool:
    return ((await info(store)).seen_ms or 0) > at_ms


async def test_late_and_live_again(store: Store) -> None:
    await presence.came(store, ID, session())
    assert await presence.changed(store, ID, "session-1", Presence.LATE, Reason.SILENT)
    assert not await presence.changed(store, ID, "session-1", Presence.LATE, Reason.SILENT)
    assert ((await info(store)).presence, (await info(store)).reason) == (Presence.LATE, Reason.SILENT)
    assert await presence.changed(store, ID, "session-1", Presence.LIVE)
    assert ((await info(store)).presence, (await info(store)).reason) == (Presence.LIVE, None)
    assert await told(store) == [("live", None), ("late", "silent"), ("live", None)]


async def test_going_is_told_once_and_with_its_reason(store: Store) -> None:
    await presence.came(store, ID, session())
    assert await presence.went(store, ID, "session-1", Reason.CLOSED)
    assert not await presence.went(store, ID, "session-1", Reason.SILENT)
    found = await info(store)
    assert (found.presence, found.reason) == (Presence.OFFLINE, Reason.CLOSED)
    assert await presence.sweep(store, await presence.times(store)) == []
    assert await told(store) == [("live", None), ("offline", "closed")]


async def test_a_session_that_was_replaced_changes_nothing_any_more(store: Store) -> None:
    await presence.came(store, ID, session(1))
    await presence.came(store, ID, session(2, gateway="gateway 2"))
    assert not await presence.went(store, ID, "session-1", Reason.REPLACED)
    assert not await presence.changed(store, ID, "session-1", Presence.LATE, Reason.SILENT)
    found = await info(store)
    assert (found.presence, found.gateway, found.session_id) == (Presence.LIVE, "gateway 2", "session-2")


@pytest.mark.parametrize(("late", "reason"), [(True, Reason.SILENT), (False, Reason.GATEWAY)])
async def test_offline_is_known_before_anybody_sweeps(store: Store, late: bool, reason: Reason) -> None:
    await presence.came(store, ID, session(watchdog_ms=80))
    if late:
        await presence.changed(store, ID, "session-1", Presence.LATE, Reason.SILENT)
    await until_offline(store)
    assert (await info(store)).reason is reason

    assert await presence.sweep(store, await presence.times(store)) == [Gone(ID, "gateway 1", reason)]
    found = await info(store)
    assert (found.presence, found.reason) == (Presence.OFFLINE, reason)
    assert (await told(store))[-1] == ("offline", reason.value)


async def test_a_silent_device_that_speaks_again_is_live_at_once(store: Store) -> None:
    await presence.came(store, ID, session(watchdog_ms=30))
    await until_offline(store)
    await presence.sweep(store, await presence.times(store))
    assert await presence.changed(store, ID, "session-1", Presence.LIVE)
    await presence.refresh(store, "gateway 1", {ID: 60_000})
    assert (await info(store)).presence is Presence.LIVE
    assert await told(store) == [("live", None), ("offline", "gateway gone"), ("live", None)]


@pytest.mark.parametrize("off_ms", [-5_000, 5_000], ids=["frozen, or set ahead", "set back"])
async def test_nobody_is_found_when_the_server_is_not_where_it_was_when_its_time_was_asked(
    store: Store, off_ms: int
) -> None:
    await presence.came(store, ID, session(watchdog_ms=30))
    await until_offline(store)
    assert await presence.sweep(store, [one + off_ms for one in await presence.times(store)]) == []
    assert await presence.sweep(store, await presence.times(store)) == [Gone(ID, "gateway 1", Reason.GATEWAY)]


async def test_many_sweepers_tell_of_each_device_once(store: Store) -> None:
    ids = [f"{number:012x}" for number in range(40)]
    for device_id in ids:
        await presence.came(store, device_id, session(watchdog_ms=30))
    await until_offline(store, ids[-1])
    times_ms = await presence.times(store)
    found = await asyncio.gather(*(presence.sweep(store, times_ms) for _ in range(5)))
    assert {gone.device_id for some in found for gone in some} == set(ids)
    offline = [event.fields["device"] for event in await events.latest(store) if event.fields["presence"] == "offline"]
    assert sorted(offline) == ids
    assert await presence.sweep(store, await presence.times(store)) == []


@pytest.mark.parametrize("recorded", [False, True], ids=["before the event", "after the event"])
async def test_a_sweeper_that_dies_is_followed_by_one_that_tells(
    store: Store, monkeypatch: pytest.MonkeyPatch, recorded: bool
) -> None:
    await presence.came(store, ID, session(watchdog_ms=30))
    await until_offline(store)
    record = presence._record

    async def die(*words: object, **more: object) -> None:
        if recorded:
            await record(*words, **more)  # type: ignore[arg-type]
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(presence, "_record", die)
        with pytest.raises(RuntimeError):
            await presence.sweep(store, await presence.times(store))

    assert await presence.sweep(store, await presence.times(store)) == [Gone(ID, "gateway 1", Reason.GATEWAY)]
    assert await told(store) == [("live", None), ("offline", "gateway gone")]
    assert await presence.sweep(store, await presence.times(store)) == []


async def test_a_device_that_goes_twice_is_told_twice(store: Store) -> None:
    for number in (1, 2):
        await presence.came(store, ID, session(number, watchdog_ms=30))
        await until_offline(store)
        assert len(await presence.sweep(store, await presence.times(store))) == 1
    assert [presence_told for presence_told, _ in await told(store)] == ["live", "offline"] * 2


async def test_after_a_flush_the_gateway_learns_whom_to_announce_again(store: Store) -> None:
    await presence.came(store, ID, session())
    assert await presence.refresh(store, "gateway 1", {ID: 60_000}) == []
    await store.redis.flushall()
    assert await presence.refresh(store, "gateway 1", {ID: 60_000}) == [ID]
    assert (await info(store)).presence is Presence.LIVE
    await presence.came(store, ID, session())
    assert await presence.refresh(store, "gateway 1", {ID: 60_000}) == []


async def test_a_session_lasts_as_long_as_the_device_is_there(store: Store) -> None:
    await presence.came(store, ID, session())
    key = store.keys.session(shard_of(ID, store.shards), ID)
    await store.redis.pexpire(key, 1_000)
    for _ in range(64):
        # Some sessions are looked at each time, by the second; an unknown device makes it look at all.
        await presence.refresh(store, "gateway 1", {ID: 60_000})
        await store.redis.delete(store.keys.due(shard_of(ID, store.shards)))
    assert await store.redis.pttl(key) > 1_000_000


async def test_a_device_that_is_forgotten_leaves_nothing(store: Store) -> None:
    await presence.came(store, ID, session())
    await readings.put(store, ID, {"rssi_dbm": -61}, 1_000)
    await presence.forget(store, ID)
    assert await info(store) == presence.NEVER
    assert [key async for key in store.redis.scan_iter(match=f"*{ID}*")] == []
    assert await store.redis.zcard(store.keys.due(shard_of(ID, store.shards))) == 0

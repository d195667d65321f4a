"""After Redis was away nobody is told to be offline who only could not be heard of."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import pytest

from espfleet.domain.devices import Presence, Reason
from espfleet.errors import StoreError
from espfleet.services import tokens
from espfleet.store import events, presence
from espfleet.store.client import Store, open_store
from espfleet.store.leases import Lease
from espfleet.store.presence import GRACE_S
from espfleet.workers.grace import MOST_S, Grace
from espfleet.workers.steward import SWEEP_DUTY, Steward
from tests.conftest import wait_until
from tests.gateway.conftest import running
from tests.servers import clients_of, cluster_of, serving

LIVING, DEAD = "3c71bff93720", "3c71bff93721"
WATCHDOG_MS = 300


@dataclass
class Time:
    """A clock that nobody sets, and one of Redis, which goes with it but for what is said."""

    now_s: float = 1_000.0
    ahead_s: float = 1.7e9
    answer_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    async def ask_ms(self) -> int:
        self.now_s += self.answer_s
        return int((self.now_s + self.ahead_s) * 1_000)


@pytest.fixture
def clocks() -> Time:
    return Time()


@pytest.fixture
def grace(store: Store, clocks: Time, monkeypatch: pytest.MonkeyPatch) -> Grace:
    monkeypatch.setattr(store, "time_ms", clocks.ask_ms)
    return Grace(store, clocks)


async def look(grace: Grace) -> None:
    """Do as a steward does while Redis takes what it is told."""
    await grace.times()
    grace.note_there()


async def passes(grace: Grace, clocks: Time, for_s: float) -> bool:
    """Let time pass while all is well; return whether there is a grace all the time, and none after it."""
    end_s = clocks.now_s + for_s
    while clocks.now_s < end_s - 0.6:
        clocks.now_s += 0.5
        await look(grace)
        if grace.is_over:
            return False
    clocks.now_s = end_s + 0.01
    await look(grace)
    return grace.is_over


async def test_a_redis_that_is_there_all_the_time_needs_no_grace(grace: Grace, clocks: Time) -> None:
    for _ in range(10):
        await look(grace)
        assert grace.is_over
        # So long as nobody asked, nothing is known to be wrong.
        clocks.now_s += 60


async def test_it_begins_when_redis_can_be_reached_again(grace: Grace, clocks: Time) -> None:
    await look(grace)
    await grace.begin()
    await look(grace)
    assert await passes(grace, clocks, GRACE_S)


async def test_it_begins_when_redis_was_frozen(grace: Grace, clocks: Time) -> None:
    await look(grace)
    clocks.answer_s = 4.0
    await look(grace)
    clocks.answer_s = 0.0
    assert await passes(grace, clocks, GRACE_S)


async def test_much_takes_longer_than_little_before_it_begins(grace: Grace, clocks: Time) -> None:
    await grace.times()
    clocks.now_s += 4.0
    await grace.heard(10_000)
    assert grace.is_over
    clocks.now_s += 4.0
    await grace.heard(100)
    assert not grace.is_over


@pytest.mark.parametrize("step", ["presence.times", "Lease.take", "tokens.end_old", "presence.sweep"])
async def test_it_begins_when_redis_was_frozen_at_any_step_of_a_sweep(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    clocks, steward = Time(), Steward(store, "one")
    steward._grace = Grace(store, clocks)
    await steward._sweep()
    assert steward._grace.is_over
    usual = {
        "presence.times": presence.times,
        "Lease.take": Lease.take,
        "tokens.end_old": tokens.end_old,
        "presence.sweep": presence.sweep,
    }[step]

    async def frozen(*words: Any, **named: Any) -> Any:
        clocks.now_s += 2.5
        return await usual(*words, **named)  # type: ignore[operator]

    monkeypatch.setattr(f"espfleet.workers.steward.{step}", frozen)
    await steward._sweep()
    assert not steward._grace.is_over


async def test_it_begins_when_the_machine_slept_or_its_clock_was_set_ahead(grace: Grace, clocks: Time) -> None:
    await look(grace)
    clocks.ahead_s += 60
    await look(grace)
    assert await passes(grace, clocks, GRACE_S)


async def test_it_begins_when_one_server_of_a_cluster_slept_or_its_clock_was_set_ahead(
    grace: Grace, clocks: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    more_ms = [0, 0, 0]

    async def times(_: Store) -> list[int]:
        now_ms = await clocks.ask_ms()
        # They differ, as they may.
        return [now_ms + server * 3_600_000 + more for server, more in enumerate(more_ms)]

    monkeypatch.setattr(presence, "times", times)
    for server in range(3):
        await look(grace)
        assert grace.is_over
        more_ms[server] -= 60_000
        await look(grace)
        assert grace.is_over
        more_ms[server] += 60_000
        await look(grace)
        assert await passes(grace, clocks, GRACE_S)


async def test_a_clock_that_is_set_back_lets_nothing_die(grace: Grace, clocks: Time) -> None:
    await look(grace)
    clocks.ahead_s -= 60
    await look(grace)
    assert grace.is_over


async def test_it_begins_anew_with_the_next_outage_but_comes_to_an_end(grace: Grace, clocks: Time) -> None:
    await grace.begin()
    graces_s = []
    began_s = clocks.now_s
    for _ in range(100):
        await look(grace)
        if grace.is_over:
            graces_s.append(clocks.now_s - began_s)
            began_s = clocks.now_s
        clocks.now_s += 1.0
        await grace.begin()
    assert len(graces_s) == 3
    assert all(MOST_S <= one <= MOST_S + 1 for one in graces_s)


@pytest.mark.parametrize("answers", [False, True], ids=["is gone", "takes nothing that is told"])
async def test_it_is_whole_after_redis_was_away_for_longer_than_it_may_last(
    grace: Grace, clocks: Time, answers: bool
) -> None:
    await look(grace)
    for _ in range(round(1.5 * MOST_S)):
        await grace.begin()
        if answers:
            await grace.times()
            assert not grace.is_over
        clocks.now_s += 1.0
    await grace.begin()
    await look(grace)
    assert await passes(grace, clocks, GRACE_S)


async def test_it_is_whole_when_nobody_cared_for_the_ones_before(grace: Grace, clocks: Time) -> None:
    await grace.begin()
    clocks.now_s += 2 * MOST_S
    await look(grace)
    await grace.begin()
    await look(grace)
    assert await passes(grace, clocks, GRACE_S)


async def test_a_steward_tells_nobody_offline_who_is_kept_alive_after_redis_was_killed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    with serving("--appendonly", "yes") as server:
        async with open_store(server.url, name="test", retries=0) as store:
            steward = Steward(store, "one")
            async with running(steward.run()):
                await wait_until(lambda: steward._lease is not None)
                for lamp in (LIVING, DEAD):
                    session = presence.Session(session_id="s", gateway="g", watchdog_ms=WATCHDOG_MS)
                    await presence.came(store, lamp, session)
                server.end()
                await wait_until(lambda: not steward._grace.is_over)
                server.start()
                await wait_until(lambda: "sweep: Redis is back" in caplog.text)

                async def looks_dead() -> bool:
                    return (await presence.read_presence(store, [LIVING]))[LIVING].presence is Presence.OFFLINE

                await wait_until(looks_dead)
                assert not steward._grace.is_over
                while not steward._grace.is_over:
                    await presence.refresh(store, "g", {LIVING: 30_000})
                    await asyncio.sleep(0.1)

                async def told() -> list[events.Event]:
                    return [one for one in await events.latest(store) if one.fields.get("presence") == "offline"]

                await wait_until(told)
                (gone,) = await told()
                assert (gone.fields["device"], gone.fields["reason"]) == (DEAD, Reason.GATEWAY.value)


async def test_it_does_not_pass_while_a_server_of_a_cluster_is_away() -> None:
    with cluster_of(3) as servers:
        for server in servers:
            with contextlib.closing(server.client()) as client:
                # The others go on without it.
                client.config_set("cluster-require-full-coverage", "no")
        async with open_store(clients_of(servers), name="test", retries=0, answer_within_s=1.0) as store:
            clocks, stewards = Time(), [Steward(store, "one"), Steward(store, "two")]
            for steward in stewards:
                steward._grace = Grace(store, clocks)
                await steward._sweep()
                assert steward._grace.is_over
            assert [steward._lease is not None for steward in stewards] == [True, False]
            asked = {store.redis.get_node_from_key(key).port for key in spoken_for(store)}
            away = next(server for server in servers if server.port not in asked)
            away.end()
            for steward in stewards:
                # The one without the duty must know as well: it may have it in a moment.
                for _ in range(5):
                    with pytest.raises(StoreError):
                        await steward._sweep()
                    await steward._grace.begin()
                    clocks.now_s += 2 * GRACE_S
            away.start()
            for steward in stewards:
                await wait_until(lambda steward=steward: is_swept(steward))  # type: ignore[misc]
                assert not steward._grace.is_over
                clocks.now_s += GRACE_S + 0.1
                await steward._sweep()
                assert steward._grace.is_over


def spoken_for(store: Store) -> list[str]:
    """Return the keys that a sweep asks for wherever devices are: on servers that are not away."""
    return [store.keys.settings(), store.keys.owner(SWEEP_DUTY), store.keys.version()]


async def is_swept(steward: Steward) -> bool:
    try:
        await steward._sweep()
    except StoreError:
        # As it does when the other servers have not heard of its return yet.
        await steward._grace.begin()
        return False
    return True

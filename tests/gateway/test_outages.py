"""Without levels, and without Redis: lamps are told that nothing is known, and everything comes back by itself."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from espfleet.domain.closing import CloseCode, retry_after_ms
from espfleet.domain.devices import Device, Presence
from espfleet.domain.shards import shard_of
from espfleet.domain.tokens import new_token
from espfleet.gateway.server import GatewaySettings, run_gateway
from espfleet.gateway.settings import Limits
from espfleet.store import presence
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server, revive
from espfleet.store.registry import Change
from tests.conftest import TEST_FOLDER, wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, lamp_of, running
from tests.own_time import own_s, promised

#: How long levels are fresh in these tests: as long as for users.
FRESH_MS = 3_000
#: What is promised; a gateway looks each quarter of a second, and the last beat may still be on its way.
SILENT_AFTER_S = 3.0
NOTICED_WITHIN_S = 1.0
#: Measured 0.2 to 2.5 s; promised are 5.
BACK_WITHIN_S = 5.0


async def test_a_shard_that_nobody_keeps_fresh_is_unknown_after_three_seconds(fleet: Fleet, gateway: Gateway) -> None:
    groups = ["wan", *(f"group-{number}" for number in range(50))]
    other = next(name for name in groups if shard_of(name, fleet.store.shards) != shard_of("wan", fleet.store.shards))
    await fleet.set_up({"attic": other}, [other])
    await fleet.publish(70, other)
    hall, attic = await fleet.add("porch", 1), await fleet.add("roof", 2, room="attic")
    shard = shard_of("wan", fleet.store.shards)
    async with (
        lamp_of(gateway, *hall) as porch,
        lamp_of(gateway, *attic) as roof,
        running(porch.keep_alive(0.5)),
        running(roof.keep_alive(0.5)),
    ):
        await porch.until(state="ok")
        fleet.beating.discard(shard)
        began_s = own_s()
        unknown = await porch.until(30, state="unknown")
        assert unknown["level"] == 50
        # Counted from when it is heard, which is after it was sent.
        assert time.monotonic() - fleet.beaten_s[shard] >= SILENT_AFTER_S
        assert own_s() - began_s < SILENT_AFTER_S + NOTICED_WITHIN_S
        assert (await roof.until(type="level"))["state"] == "ok"
        fleet.beating.add(shard)
        assert (await porch.until(state="ok"))["level"] == 10


class Own:
    """A Redis of the test's own, that may be stopped and killed."""

    def __init__(self, url: str, data: Path) -> None:
        self.url = url
        self.data = data

    @property
    def pid(self) -> int:
        return int((self.data / "redis.pid").read_text())


@pytest.fixture
async def own() -> AsyncIterator[Own]:
    data = TEST_FOLDER / "own"
    with embedded_server(data) as url:
        server = Own(url, data)
        try:
            yield server
        finally:
            with contextlib.suppress(OSError, ValueError):
                os.kill(server.pid, signal.SIGCONT)


@pytest.fixture
async def own_store(own: Own) -> AsyncIterator[Store]:
    async with open_store(own.url, name="own", retries=0) as store:
        await store.redis.flushall()
        yield store


async def keep(fleet: Fleet) -> None:
    """Beat and publish as a leveler does, whatever happens to Redis."""
    while True:
        with contextlib.suppress(Exception):
            await asyncio.wait_for(fleet.beat(), 60)
        fleet._leases.clear()
        await asyncio.sleep(0.1)


async def publish_again(fleet: Fleet, level: int) -> None:
    async def done() -> bool:
        with contextlib.suppress(Exception):
            await fleet.publish(level)
            return True
        return False

    with promised(BACK_WITHIN_S):
        await wait_until(done, 60)


async def see_through(store: Store, happens: Callable[[Lamp], Awaitable[None]], log: pytest.LogCaptureFixture) -> None:
    """See a lamp through an absence of Redis."""
    log.set_level(logging.INFO)
    fleet = Fleet(store)
    await fleet.set_up()
    await fleet.publish(10)
    device, token = await fleet.add("porch")
    ready = asyncio.get_running_loop().create_future()
    async with running(run_gateway(store, GatewaySettings(port=0), ready.set_result)) as task, running(keep(fleet)):
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        async with lamp_of(Gateway(ready.result(), task), device, token) as lamp, running(lamp.keep_alive(0.3)):
            await lamp.until(state="ok", level=10)
            await happens(lamp)
            await publish_again(fleet, 20)
            with promised(BACK_WITHIN_S):
                await lamp.until(60, state="ok", level=20)

            async def live() -> bool:
                known = await presence.read_presence(store, [device.id])
                return known[device.id].presence is Presence.LIVE

            with promised(BACK_WITHIN_S):
                await wait_until(live, 60)
            await fleet.put(device, name="roof")
            with promised(BACK_WITHIN_S):
                await lamp.until(60, type="welcome", name="roof")
    warnings = [record.message for record in log.records if record.levelno >= logging.WARNING]
    silent = [found for text in warnings if (found := re.match(r"no levels come for (\d+) of", text))]
    others = [text for text in warnings if not text.startswith("no levels come for")]
    assert len(others) == len(set(others)), warnings
    # Shards may fall silent one after the other; none does so twice.
    assert sum(int(found[1]) for found in silent) <= store.shards, warnings


@pytest.mark.slow
async def test_a_stalled_redis_makes_lamps_unknown_and_everything_comes_back(
    own: Own, own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def stall(lamp: Lamp) -> None:
        os.kill(own.pid, signal.SIGSTOP)
        stalled_s = time.monotonic()
        with promised(6):
            await lamp.until(state="unknown")
        while time.monotonic() - stalled_s < 8:
            assert (await lamp.receive())["state"] == "unknown"
        os.kill(own.pid, signal.SIGCONT)

    await see_through(own_store, stall, caplog)


@pytest.mark.slow
async def test_a_killed_redis_makes_lamps_unknown_and_everything_comes_back(
    own: Own, own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    async def kill(lamp: Lamp) -> None:
        os.kill(own.pid, signal.SIGKILL)
        await lamp.until(10, state="unknown")
        await asyncio.to_thread(revive, own.data)

    await see_through(own_store, kill, caplog)


async def test_an_emptied_redis_makes_lamps_unknown_and_a_filled_one_brings_them_back(
    own_store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    fleet = Fleet(own_store)

    async def empty(lamp: Lamp) -> None:
        table = await own_store.redis.hgetall(own_store.keys.table("devices"))
        await own_store.redis.flushall()
        await lamp.until(10, state="unknown")
        await own_store.settle()
        await fleet.change(*(Change("devices", key.decode(), json.loads(row)) for key, row in table.items()))
        await fleet.set_up()

    await see_through(own_store, empty, caplog)


async def test_a_lamp_that_nobody_can_ask_for_is_put_off_and_not_told_that_it_is_unknown(
    own: Own, own_store: Store
) -> None:
    fleet = Fleet(own_store)
    await fleet.set_up()
    ready = asyncio.get_running_loop().create_future()
    settings = GatewaySettings(port=0, limits=Limits(hello_ms=500))
    async with running(run_gateway(own_store, settings, ready.set_result)) as task, running(keep(fleet)):
        await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
        gateway = Gateway(ready.result(), task)
        stranger, token = Device(id="3c71bf000001", name="stranger"), new_token()

        async def told() -> tuple[int, str]:
            async with lamp_of(gateway, stranger, token) as lamp:
                with pytest.raises(ConnectionClosed) as closed:
                    await lamp.receive(20)
                assert closed.value.rcvd is not None
                return closed.value.rcvd.code, closed.value.rcvd.reason

        os.kill(own.pid, signal.SIGSTOP)
        try:
            # More often than a source may guess: this counts as no guess.
            for code, reason in await asyncio.gather(*(told() for _ in range(20))):
                assert code == CloseCode.TRY_LATER
                assert reason.startswith("the fleet's registry cannot be read now; retry_after_ms=")
                assert 2_000 <= (retry_after_ms(reason) or 0) <= 4_000
        finally:
            os.kill(own.pid, signal.SIGCONT)

        async def known_again() -> bool:
            return (await told())[0] == CloseCode.UNREGISTERED

        await wait_until(known_again)

"""The steward keeps pins and metrics through the absence of Redis, of another steward, and of Datadog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from espfleet.domain.devices import Kind
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.exports.datadog import Datadog
from espfleet.services import devices, jobs
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store.client import Store, open_store
from espfleet.store.leases import Lease
from espfleet.workers.steward import Steward, StewardSettings
from tests.conftest import wait_until
from tests.own_time import promised
from tests.store.conftest import Embedded, data, embedded
from tests.workers.test_sender import Sink, sink

__all__ = ["data", "embedded", "sink"]
POLL_S = 0.5


@pytest.fixture
async def board() -> AsyncIterator[SimulatedBoard]:
    """A board that is being served."""
    simulator = BoardSimulator(new_boards(1))
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    yield next(iter(simulator.boards.values()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def stewarding(url: str, sink: Sink, name: str = "s1") -> AsyncIterator[asyncio.Task[None]]:
    datadog = Datadog(url=sink.url, api_key="k3y", timeout_s=1)
    async with open_store(url, name=name, retries=0) as store:
        steward = Steward(store, name, StewardSettings(poll_s=POLL_S, datadog=datadog))
        running = asyncio.create_task(steward.run())
        try:
            yield running
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def lit(store: Store, board: SimulatedBoard) -> None:
    await devices.register(
        store, device_id=board.id, name="porch", now_ms=1, address=board.address, kinds=(Kind.BOARD,)
    )
    await jobs.add(store, Job(device_id=board.id, name="lit", pin=22, kind=JobKind.TIMER, duration_s=DAY_S))


async def test_pins_and_metrics_go_on_after_redis_was_killed(
    embedded: Embedded, board: SimulatedBoard, sink: Sink
) -> None:
    async with open_store(embedded.url, name="test") as store:
        await lit(store, board)
    async with stewarding(embedded.url, sink) as steward:
        await wait_until(lambda: board.electronics.pins[22])
        await wait_until(lambda: ("esp32.gpio", 1.0) in sink.accepted)
        embedded.kill()
        await asyncio.sleep(0.3)
        board.electronics.reset()
        sink.accepted.clear()
        await asyncio.to_thread(embedded.revive)
        await wait_until(lambda: board.electronics.pins[22])
        await wait_until(lambda: ("esp32.gpio", 1.0) in sink.accepted)
        assert not steward.done()


async def test_another_steward_takes_over_from_a_killed_one_within_three_seconds(
    embedded: Embedded, board: SimulatedBoard, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(_lease: Lease) -> None:
        """Who is killed gives nothing back."""

    monkeypatch.setattr(Lease, "release", killed)
    async with open_store(embedded.url, name="test") as store:
        await lit(store, board)
        async with stewarding(embedded.url, sink, "s1") as first:
            await wait_until(lambda: board.electronics.pins[22])
            async with stewarding(embedded.url, sink, "s2"):
                await asyncio.sleep(0.3)
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
                board.electronics.reset()
                with promised(3.0 + POLL_S):
                    await wait_until(lambda: board.electronics.pins[22])


async def test_a_place_that_takes_nothing_does_not_hold_pins_up(
    embedded: Embedded, board: SimulatedBoard, sink: Sink
) -> None:
    sink.plan = [(500, {"Retry-After": "1"})] * 2
    async with open_store(embedded.url, name="test") as store:
        await lit(store, board)
    async with stewarding(embedded.url, sink):
        await wait_until(lambda: board.electronics.pins[22])
        board.electronics.reset()
        with promised(POLL_S + 1.0):
            await wait_until(lambda: board.electronics.pins[22])
        await wait_until(lambda: ("esp32.gpio", 1.0) in sink.accepted)

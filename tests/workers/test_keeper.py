"""The keeper: pins are as jobs wish, whatever boards do; and nobody is asked by two at a time."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from espfleet.domain.devices import Kind, Presence
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.domain.sensors import new_sensor
from espfleet.services import devices, jobs
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store import boards, locks, readings
from espfleet.store.client import Store
from espfleet.workers.keeper import Keeper
from tests.conftest import wait_until

INTERVAL_S = 0.3


@pytest.fixture
async def simulated() -> AsyncIterator[list[SimulatedBoard]]:
    """Three boards that are being served."""
    simulator = BoardSimulator(new_boards(3))
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    yield list(simulator.boards.values())
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def keeping(store: Store, name: str = "k1", **more: Any) -> AsyncIterator[Keeper]:
    keeper = Keeper(store, name, interval_s=INTERVAL_S, **more)

    async def run() -> None:
        while True:
            await keeper.step()
            await asyncio.sleep(0.01)

    running = asyncio.create_task(run())
    try:
        yield keeper
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await keeper.close()


async def register(store: Store, board: SimulatedBoard, name: str, address: str = "") -> str:
    address = address or board.address
    await devices.register(store, device_id=board.id, name=name, now_ms=1, address=address, kinds=(Kind.BOARD,))
    return board.id


def lit(device_id: str, pin: int = 22, name: str = "lit") -> Job:
    return Job(device_id=device_id, name=name, pin=pin, kind=JobKind.TIMER, duration_s=DAY_S)


async def test_a_job_sets_its_pin_and_again_after_a_reset(store: Store, simulated: list[SimulatedBoard]) -> None:
    board = simulated[0]
    await register(store, board, "porch")
    await jobs.add(store, lit(board.id))
    async with keeping(store) as keeper:
        await wait_until(lambda: board.electronics.pins[22])
        board.electronics.reset()
        before = keeper.visits
        await wait_until(lambda: board.electronics.pins[22])
        # One visit may have been under way, and had looked before; the next one sets the pin.
        assert keeper.visits <= before + 2
    assert board.electronics.switched == 2
    [view] = await jobs.views(store, device="porch")
    assert view.wish is not None
    assert "its window lasts until" in view.wish.why


async def test_a_job_that_is_paused_or_gone_leaves_the_pin_alone(store: Store, simulated: list[SimulatedBoard]) -> None:
    board = simulated[0]
    await register(store, board, "porch")
    await jobs.add(store, lit(board.id))
    async with keeping(store) as keeper:
        await wait_until(lambda: board.electronics.pins[22])
        await jobs.pause(store, device="porch", name="lit", yes=True)
        await wait_until(lambda: is_paused(store))
        board.electronics.switch([22], 0)
        before = keeper.visits
        await wait_until(lambda: keeper.visits >= before + 2)
        assert board.electronics.pins[22] == 0
        await jobs.pause(store, device="porch", name="lit", yes=False)
        await wait_until(lambda: board.electronics.pins[22])


async def is_paused(store: Store) -> bool:
    [view] = await jobs.views(store)
    return view.wish is not None and view.wish.on is None


async def test_a_threshold_follows_a_sensor_of_another_board(store: Store, simulated: list[SimulatedBoard]) -> None:
    heater, meter = simulated[:2]
    await register(store, heater, "heater")
    await register(store, meter, "meter")
    sensor = new_sensor(device_id=meter.id, name="air", kind="dht22", pin=4, interval_s=1)
    await jobs.add_sensor(store, sensor)
    await jobs.add(
        store,
        Job(
            device_id=heater.id,
            name="heat",
            pin=23,
            kind=JobKind.THRESHOLD,
            source="meter/air.temp",
            border=20,
            hysteresis=1,
        ),
    )
    meter.electronics.warm(15)
    async with keeping(store):
        await wait_until(lambda: heater.electronics.pins[23])
        meter.electronics.warm(25)
        await wait_until(lambda: not heater.electronics.pins[23])
    assert (await readings.get(store, meter.id))["air.temp"].value == 25
    past = await readings.past(store, meter.id, "air.temp")
    assert 1 <= len(past) <= 2


async def test_two_keepers_share_nothing_and_one_takes_over(store: Store, simulated: list[SimulatedBoard]) -> None:
    await register(store, simulated[0], "porch")
    async with keeping(store, "k2") as second:
        await wait_until(lambda: second.visits)
        async with keeping(store, "k1") as first:
            before = second.visits
            await wait_until(lambda: second.visits > before)
            assert (first.leads, first.visits) == (False, 0)


async def test_boards_are_present_while_they_answer(store: Store, simulated: list[SimulatedBoard]) -> None:
    await register(store, simulated[0], "porch")
    async with keeping(store):
        await wait_until(lambda: is_live(store, "porch"))
    await wait_until(lambda: is_offline(store, "porch"))


async def test_a_lamp_is_not_there_because_its_pages_are(store: Store, simulated: list[SimulatedBoard]) -> None:
    board = simulated[0]
    await devices.register(store, device_id=board.id, name="lamp", now_ms=1, address=board.address)
    await jobs.add(store, lit(board.id))
    async with keeping(store) as keeper:
        await wait_until(lambda: keeper.visits >= 3 and time.monotonic() - keeper._looked_s < 0.1)
        assert await is_offline(store, "lamp")


async def is_live(store: Store, name: str) -> bool:
    return (await devices.view(store, name=name, now_ms=1)).presence is Presence.LIVE


async def is_offline(store: Store, name: str) -> bool:
    return (await devices.view(store, name=name, now_ms=1)).presence is Presence.OFFLINE


async def test_boards_that_hang_delay_nobody(store: Store, simulated: list[SimulatedBoard]) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        hanging = new_boards(20, seed=7)
        for number, board in enumerate(hanging):
            await register(store, board, f"hangs-{number}", f"127.0.0.1:{silent.getsockname()[1]}")
        await register(store, simulated[0], "porch")
        async with keeping(store) as keeper:
            await wait_until(lambda: keeper.failures >= 20)
            before, failed = keeper.visits, keeper.failures
            await wait_until(lambda: keeper.visits >= before + 4)
            # Behind those that hang, each of these visits would have waited for nearly all of them.
            assert keeper.failures < failed + 2 * len(hanging)
    state = await boards.get(store, hanging[0].id)
    assert state is not None
    assert "did not answer within 3 s" in state.error


async def test_a_board_with_another_ones_address_is_not_switched(store: Store, simulated: list[SimulatedBoard]) -> None:
    one, other = simulated[:2]
    await register(store, one, "porch", other.address)
    await jobs.add(store, lit(one.id))
    async with keeping(store) as keeper:
        await wait_until(lambda: keeper.failures >= 2)
    assert other.electronics.switched == 0
    state = await boards.get(store, one.id)
    assert state is not None
    assert "has the board another IP now" in state.error


async def test_while_somebody_talks_to_a_board_it_is_not_visited(store: Store, simulated: list[SimulatedBoard]) -> None:
    await register(store, simulated[0], "porch")
    lock = await locks.take(store, simulated[0].id)
    assert lock is not None
    async with keeping(store) as keeper:
        await wait_until(lambda: len(keeper._under_way) == 1)
        assert keeper.visits == 0
        await lock.release()
        await wait_until(lambda: keeper.visits)


async def test_each_board_is_shown_its_own_token_and_the_others_that_of_all(
    store: Store, simulated: list[SimulatedBoard]
) -> None:
    for board, name, token in zip(simulated, ("a", "b", "c"), ("own-a", "own-b", "all"), strict=True):
        await register(store, board, name)
        board.token = token
    await devices.set_board_token(store, name="a", token="own-a")
    await devices.set_board_token(store, name="b", token="own-b")
    async with keeping(store, token="all") as keeper:
        await wait_until(lambda: keeper.visits >= 6)
        assert keeper.failures == 0
        await devices.set_board_token(store, name="b", token=None)
        await wait_until(lambda: keeper.failures >= 2)
    state = await boards.get(store, simulated[1].id)
    assert state is not None
    assert "wants another token" in state.error

"""Visits: whatever happened before, after one the pins are as the jobs wish; late visitors store nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from espfleet.domain.jobs import Job, JobKind, pins_wished, start_of, wish
from espfleet.errors import BoardClosedError, InvalidError, LockBusyError, LockLostError, NotFoundError
from espfleet.services import boards, devices, jobs
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store import boards as states
from espfleet.store import locks, registry, wishes
from espfleet.store.client import Store
from tests.conftest import wait_until

NOON_MS = round(datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp() * 1_000)


@pytest.fixture
async def board() -> AsyncIterator[SimulatedBoard]:
    """A board that is being served."""
    simulator = BoardSimulator(new_boards(1))
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    yield next(iter(simulator.boards.values()))
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def register(store: Store, board: SimulatedBoard) -> None:
    await devices.register(store, device_id=board.id, name="porch", now_ms=1, address=board.address)


def timer(board: SimulatedBoard, name: str, pin: int, start: str = "08:00", hours: float = 8) -> Job:
    return Job(
        device_id=board.id,
        name=name,
        pin=pin,
        kind=JobKind.TIMER,
        start_s=start_of(start),
        duration_s=round(hours * 3_600),
    )


async def visit(store: Store, now_ms: int = NOON_MS, **more: Any) -> boards.Visit:
    current = await registry.load(store)
    return await boards.visit(store, current, current.device("porch"), now_ms=now_ms, **more)


EVENTS = ("reset", "by hand", "pause one", "resume one", "six hours", "back two hours", "new steward", "remove other")


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(EVENTS), max_size=6))
async def test_one_visit_sets_the_pins_right_whatever_happened_before(
    store: Store, board: SimulatedBoard, events: list[str]
) -> None:
    await store.redis.flushdb()
    board.electronics.reset()
    await register(store, board)
    for job in (timer(board, "one", 22), timer(board, "other", 22, "10:00", 1), timer(board, "third", 23, "20:00", 6)):
        await jobs.add(store, job)
    now_ms = NOON_MS
    for event in events:
        if event == "reset":
            board.electronics.reset()
        elif event == "by hand":
            board.electronics.switch([22, 23], 2)
        elif event in ("pause one", "resume one"):
            await jobs.pause(store, device="porch", name="one", yes=event == "pause one")
        elif event == "remove other":
            with contextlib.suppress(NotFoundError):
                await jobs.remove(store, device="porch", name="other")
        elif event == "new steward":
            registry._known.pop(store, None)
        else:
            now_ms += 6 * 3_600_000 if event == "six hours" else -2 * 3_600_000
        await visit(store, now_ms)
        current = (await registry.load(store)).jobs_of[board.id]
        wanted = pins_wished(current, {job.name: wish(job, now_ms) for job in current})
        assert {pin: bool(board.electronics.pins[pin]) for pin in wanted} == wanted


async def test_a_visit_tells_what_it_changed_and_why(store: Store, board: SimulatedBoard) -> None:
    await register(store, board)
    await jobs.add(store, timer(board, "lights", 22))
    assert (await visit(store)).switched == {22: 1}
    assert (await visit(store)).switched == {}
    assert (await wishes.get(store, board.id))["lights"].why == "its window lasts until 16:00:00"
    state = await states.get(store, board.id)
    assert state is not None
    assert (state.gpio[22], state.at_ms, state.error) == (1, NOON_MS, "")


async def test_a_visitor_whose_lock_ended_stores_nothing(store: Store, board: SimulatedBoard) -> None:
    await register(store, board)

    async def slow(call: Callable[[], Any]) -> Any:
        answer = await asyncio.to_thread(call)
        await locks.force_open(store, board.id, "request")
        newer = await locks.take(store, board.id)
        assert newer is not None
        await states.put(store, newer, f=1.0, gpio={}, at_ms=NOON_MS + 1)
        return answer

    with pytest.raises(LockLostError):
        await visit(store, ask=slow)
    state = await states.get(store, board.id)
    assert state is not None
    assert state.f == 1.0


async def test_why_a_board_cannot_be_visited_is_kept_beside_what_it_said_last(
    store: Store, board: SimulatedBoard
) -> None:
    await register(store, board)
    await visit(store)
    await devices.register(store, device_id=board.id, name="porch", now_ms=1, address="127.0.0.1:9")
    with pytest.raises(BoardClosedError):
        await visit(store, NOON_MS + 5_000)
    state = await states.get(store, board.id)
    assert state is not None
    assert (state.at_ms, state.error_ms) == (NOON_MS, NOON_MS + 5_000)
    assert "refuses the connection" in state.error
    assert await locks.take(store, board.id, wait_ms=0)


async def test_two_never_talk_to_a_board_at_once(store: Store, board: SimulatedBoard) -> None:
    await register(store, board)
    async with locks.locked(store, board.id):
        with pytest.raises(LockBusyError, match="porch is busy"):
            await visit(store, wait_ms=20)


async def test_a_device_without_an_address_cannot_be_visited(store: Store) -> None:
    await devices.register(store, device_id="3c71bff93720", name="porch", now_ms=1)
    with pytest.raises(InvalidError, match="has no address"):
        await visit(store)


async def test_unregistering_takes_jobs_along(store: Store, board: SimulatedBoard) -> None:
    await register(store, board)
    await jobs.add(store, timer(board, "lights", 22))
    await devices.unregister(store, name="porch")
    assert (await registry.load(store)).jobs == {}


async def test_a_job_of_nobody_or_about_nobody_is_refused(store: Store, board: SimulatedBoard) -> None:
    with pytest.raises(NotFoundError):
        await jobs.add(store, timer(board, "lights", 22))
    await register(store, board)
    heat = replace(timer(board, "heat", 22), kind=JobKind.THRESHOLD, source="nobody/air.temp")
    with pytest.raises(NotFoundError):
        await jobs.add(store, heat)


@pytest.mark.parametrize(("text", "value"), [("19.5", 19.5), ("warm", None), ("nan", None), ("inf", None)])
async def test_a_threshold_may_follow_any_key(store: Store, board: SimulatedBoard, text: str, value: float) -> None:
    await register(store, board)
    heat = replace(timer(board, "heat", 22), kind=JobKind.THRESHOLD, source="key:outside", border=20)
    await store.redis.set("outside", text, px=60_000)
    current = await registry.load(store)
    assert await jobs.value_of(store, current, heat, NOON_MS) == value
    await store.redis.delete("outside")
    await store.redis.rpush("outside", 1)
    await store.redis.pexpire("outside", 60_000)
    assert await jobs.value_of(store, current, heat, NOON_MS) is None


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("devices:porch:f", "porch/f"),
        ("devices:porch:dht22:out:humidity", "porch/out.humidity"),
        ("porch/air.temp", "porch/air.temp"),
        ("outside", "key:outside"),
        ("key:outside", "key:outside"),
    ],
)
def test_inputs_of_espnet_are_understood(text: str, source: str) -> None:
    assert jobs.source_of(text) == source

"""A steward that runs while clocks are set: days that change them, jumps, and an hour without Datadog."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from espfleet.domain.devices import Kind
from espfleet.domain.jobs import Job, JobKind, start_of
from espfleet.errors import ExportError
from espfleet.exports.datadog import Datadog
from espfleet.services import devices, jobs
from espfleet.services.boards import Visit
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.store import points, readings, registry
from espfleet.store.client import Store
from espfleet.workers.exporter import KEPT, Exporter
from espfleet.workers.steward import Steward, StewardSettings
from tests.conftest import wait_until

POLL_S = 0.2
BERLIN = "Europe/Berlin"


@dataclass
class Clock:
    """A clock on the wall that the test sets."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s

    def set(self, text: str, zone: str = "UTC") -> None:
        self.now_s = datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


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
async def stewarding(store: Store, clock: Clock) -> AsyncIterator[Steward]:
    steward = Steward(store, "s1", StewardSettings(poll_s=POLL_S), clock=clock)
    running = asyncio.create_task(steward.run())
    try:
        yield steward
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def register(store: Store, board: SimulatedBoard) -> None:
    await devices.register(
        store, device_id=board.id, name="porch", now_ms=1, address=board.address, kinds=(Kind.BOARD,)
    )


async def visited_twice(steward: Steward) -> None:
    """Wait until a whole visit was made after now; a clock that was set must not keep the steward from it."""
    before = steward._keeper.visits
    await wait_until(lambda: steward._keeper.visits >= before + 2)


def timer(board: SimulatedBoard, name: str, pin: int, start: str, hours: float) -> Job:
    return Job(
        device_id=board.id,
        name=name,
        pin=pin,
        kind=JobKind.TIMER,
        start_s=start_of(start),
        duration_s=round(hours * 3_600),
        zone=BERLIN,
    )


async def test_on_days_that_change_the_clock_pins_go_by_the_clock_on_the_wall(
    store: Store, board: SimulatedBoard
) -> None:
    clock = Clock()
    clock.set("2026-03-29T00:00:00")
    await register(store, board)
    # In spring 02:30 does not exist there and is 03:30; in autumn it comes twice and counts the first time.
    await jobs.add(store, timer(board, "night", 22, "02:30", 1))
    await jobs.add(store, timer(board, "day", 23, "00:00", 24))
    async with stewarding(store, clock) as steward:
        for utc, on in (
            ("2026-03-29T01:29:59", 0),
            ("2026-03-29T01:30:00", 1),
            ("2026-03-29T02:29:59", 1),
            ("2026-03-29T02:30:00", 0),
            ("2026-10-25T00:29:59", 0),
            ("2026-10-25T00:30:00", 1),
            ("2026-10-25T01:29:59", 1),
            ("2026-10-25T01:30:00", 0),
            # The hour more of that day belongs to it.
            ("2026-10-25T22:59:59", 0),
        ):
            clock.set(utc)
            await visited_twice(steward)
            assert (board.electronics.pins[22], board.electronics.pins[23]) == (on, 1), utc


async def test_clocks_that_jump_neither_stop_visits_nor_let_a_pin_chatter(store: Store, board: SimulatedBoard) -> None:
    clock = Clock()
    clock.set("2026-03-02T12:00:00")
    await register(store, board)
    heat = Job(
        device_id=board.id,
        name="heat",
        pin=22,
        kind=JobKind.THRESHOLD,
        source="porch/air.temp",
        border=20,
        min_on_s=600,
        min_off_s=600,
    )
    await jobs.add(store, heat)
    await report(store, board, clock, 15)
    async with stewarding(store, clock) as steward:
        await wait_until(lambda: board.electronics.pins[22])
        # Warm now; but it must stay on for ten minutes, by whatever clock.
        for jump_s in (-3_600, 1, -86_400 * 400, 60):
            clock.now_s += jump_s
            await report(store, board, clock, 25)
            await visited_twice(steward)
            assert board.electronics.pins[22] == 1
        clock.now_s += 600
        await report(store, board, clock, 25)
        await visited_twice(steward)
        assert board.electronics.pins[22] == 0
    assert board.electronics.switched == 2


async def report(store: Store, board: SimulatedBoard, clock: Clock, temp_c: float) -> None:
    await readings.put(store, board.id, {"air.temp": temp_c}, round(clock.now_s * 1_000))


class Place:
    """Datadog without HTTP: takes nothing while it is gone."""

    def __init__(self) -> None:
        self.gone = True
        self.asked = 0
        self.accepted: list[tuple[str, int, str]] = []

    def post(self, series: Sequence[Mapping[str, Any]]) -> None:
        self.asked += 1
        if self.gone:
            raise ExportError("nobody answers", status=503 if self.asked % 2 else 0)
        for one in series:
            self.accepted += [(one["metric"], point["timestamp"], "".join(one["tags"])) for point in one["points"]]


async def test_an_hour_without_datadog_loses_nothing_and_fills_nothing(
    store: Store, board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clock = Place(), Clock(1_800_000_000.0)
    monkeypatch.setattr(Datadog, "post", lambda _self, series: place.post(series))
    await register(store, board)
    current = await registry.load(store)
    device = current.devices[board.id]
    exporter = Exporter(
        store, "e1", datadog=Datadog(url="http://nowhere", api_key="k3y"), clock=clock, ticks=lambda: clock.now_s
    )
    told: set[tuple[str, int, str]] = set()
    for _ in range(708):  # 59 minutes; what is older than an hour nobody takes
        clock.now_s += 5
        at_s = int(clock.now_s)
        values = {f"s{number}.temp": 20.0 for number in range(40)}
        exporter.tell(current, device, Visit(at_ms=at_s * 1_000, f=112.0, gpio={}, values=values))
        told.add(("esp32.f", at_s, "name:porch"))
        told |= {("espfleet.reading", at_s, f"name:porchreading:{name}") for name in values}
        await exporter.step()
        assert len(exporter._waiting) < KEPT
    outbox = await points.info(store)
    assert outbox["entries"] < points.KEPT / 10
    assert 50 <= place.asked <= 300
    # 30,000 points of readings, as many of EspNet's names, and figures.
    assert int(await store.redis.memory_usage(store.keys.outbox())) < 3_000_000

    place.gone = False
    for _ in range(60):
        clock.now_s += 1
        await exporter.step()
    sent = [point for point in place.accepted if point in told]
    assert len(sent) == len(told)
    assert set(sent) == told
    assert await points.dead(store) == []
    assert (await points.info(store))["entries"] == 0
    await exporter.close()


async def test_what_no_place_takes_any_more_after_an_hour_is_put_aside_and_not_in_the_way(
    store: Store, board: SimulatedBoard, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, clock = Place(), Clock(1_800_000_000.0)
    monkeypatch.setattr(Datadog, "post", lambda _self, series: place.post(series))
    await register(store, board)
    current = await registry.load(store)
    exporter = Exporter(
        store, "e1", datadog=Datadog(url="http://nowhere", api_key="k3y"), clock=clock, ticks=lambda: clock.now_s
    )
    for late_s in (0, 4_000):
        clock.now_s += late_s
        at_ms = int(clock.now_s) * 1_000
        exporter.tell(current, current.devices[board.id], Visit(at_ms=at_ms, f=112.0, gpio={}))
        await exporter.step()
    place.gone = False
    for _ in range(5):
        clock.now_s += 61
        await exporter.step()
    assert [at_s for name, at_s, _ in place.accepted if name == "esp32.f"] == [1_800_004_000]
    buried = [(point.name, point.at_s) for why, dead in await points.dead(store) for point in dead if "an hour" in why]
    assert ("esp32.f", 1_800_000_000) in buried
    await exporter.close()

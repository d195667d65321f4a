"""One steward with 1,000 boards and 200 jobs, while boards come and go."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from espfleet.domain.devices import Device, Kind, Presence
from espfleet.domain.jobs import DAY_S, Job, JobKind
from espfleet.domain.names import SIMULATED
from espfleet.services import simulated
from espfleet.simulator.boards import BoardSimulator, SimulatedBoard, new_boards
from espfleet.simulator.http import HttpError, Request, Response
from espfleet.store import boards as states
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.registry import Change
from espfleet.workers.keeper import MISSED
from espfleet.workers.steward import Steward, StewardSettings
from tests.conftest import wait_until
from tests.own_time import own_s

BOARDS, JOBS, POLL_S = 1_000, 200, 5.0
#: A thousand ports are many: what other tests ask of servers that had them before is not ours to count.
TOKEN = "of-this-steward-alone"


class Flapping(SimulatedBoard):
    """A board that answers or not, as told, and has lost its pins when it answers again."""

    away = False
    asked = 0
    longest_apart_s = 0.0
    _asked_s = 0.0

    def handle(self, request: Request) -> Response:
        if request.method == "GET" and request.headers.get("authorization") == f"Bearer {TOKEN}":
            now_s = own_s()
            if self.asked:
                self.longest_apart_s = max(self.longest_apart_s, now_s - self._asked_s)
            self._asked_s = now_s
            self.asked += 1
        if self.away:
            raise HttpError(HTTPStatus.SERVICE_UNAVAILABLE, "not now")
        return super().handle(request)

    def flap(self) -> None:
        self.away = not self.away
        if not self.away:
            self.electronics.reset()


@pytest.fixture
async def flapping(store: Store) -> AsyncIterator[list[Flapping]]:
    """Boards that are served and registered, every fifth of them with a job."""
    made = [Flapping(board.id, token=TOKEN) for board in new_boards(BOARDS)]
    simulator = BoardSimulator(made)
    running = asyncio.create_task(simulator.run())
    await wait_until(simulator.started.is_set)
    await simulated.enlist(
        store,
        [
            Device(id=one.id, name=f"b-{number}", address=one.address, kinds=(Kind.BOARD,), labels=(SIMULATED,))
            for number, one in enumerate(made)
        ],
    )
    jobs = [Job(device_id=one.id, name="lit", pin=22, kind=JobKind.TIMER, duration_s=DAY_S) for one in made[::5]]
    await registry.change(store, lambda _: [Change("jobs", job.key, job.to_dict()) for job in jobs])
    assert len(jobs) == JOBS
    yield made
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@asynccontextmanager
async def stewarding(store: Store) -> AsyncIterator[Steward]:
    steward = Steward(store, "s1", StewardSettings(poll_s=POLL_S, board_token=TOKEN))
    running = asyncio.create_task(steward.run())
    try:
        yield steward
        assert not running.done()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_thousand_boards_that_flap_are_each_visited_and_set_right(
    store: Store, flapping: list[Flapping]
) -> None:
    began_s = time.monotonic()
    async with stewarding(store) as steward:
        await wait_until(lambda: all(one.asked for one in flapping), timeout_s=60)
        for one in flapping[::2]:
            one.flap()
        turn = 0
        while steward._keeper.failures < BOARDS / 4:
            assert time.monotonic() - began_s < 120
            await asyncio.sleep(0.25)
            # Some come back and others go, a few at a time.
            turn += 1
            for one in flapping[turn % 40 :: 40]:
                one.flap()
        for one in flapping:
            if one.away:
                one.flap()
        asked = [one.asked for one in flapping]
        await wait_until(
            lambda: all(one.asked > before for one, before in zip(flapping, asked, strict=True)), timeout_s=60
        )
        await wait_until(lambda: all(one.electronics.pins[22] for one in flapping[::5]), timeout_s=60)
        await wait_until(lambda: all_live(store, flapping), timeout_s=60)
    assert not any(one.electronics.pins[22] for number, one in enumerate(flapping) if number % 5)
    known = await states.get_all(store, [one.id for one in flapping])
    assert all(state is not None and not state.error for state in known.values())
    # Nobody was forgotten, and nobody was asked all the time.
    assert max(one.longest_apart_s for one in flapping) < 2 * POLL_S * MISSED
    assert max(one.asked for one in flapping) <= (time.monotonic() - began_s) / POLL_S + 2


async def all_live(store: Store, boards: list[Flapping]) -> bool:
    found = await presence.read_presence(store, [one.id for one in boards])
    return all(info.presence is Presence.LIVE for info in found.values())

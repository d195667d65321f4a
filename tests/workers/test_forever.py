"""A loop outlives Redis: it waits, says so once, and catches up before it goes on."""

from __future__ import annotations

import asyncio
import logging

import pytest

from espfleet.errors import StoreUnavailableError
from espfleet.workers.forever import Forever

logger = logging.getLogger("test")


class Step:
    """Fails as often as it is told to, then works; ``done`` is set after ``wanted`` successes."""

    def __init__(self, failures: int, wanted: int) -> None:
        self.failures, self.wanted, self.calls, self.successes = failures, wanted, 0, 0
        self.done = asyncio.Event()

    async def __call__(self) -> None:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StoreUnavailableError("Redis does not answer")
        self.successes += 1
        if self.successes == self.wanted:
            self.done.set()
        await asyncio.sleep(0)


async def run_until_done(forever: Forever, step: Step) -> None:
    task = asyncio.create_task(forever.run(step))
    await asyncio.wait_for(step.done.wait(), 30)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_outage_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    forever = Forever("work", logger)
    await run_until_done(forever, Step(failures=3, wanted=2))
    assert [record.message for record in caplog.records] == [
        "work: waiting for Redis: Redis does not answer",
        "work: Redis is back",
    ]
    assert forever.outages == 1


async def test_what_redis_forgot_is_written_before_the_work_goes_on() -> None:
    order: list[str] = []

    async def on_return() -> None:
        order.append("caught up")

    class Noted(Step):
        async def __call__(self) -> None:
            await super().__call__()
            order.append("worked")

    step = Noted(failures=1, wanted=2)
    await run_until_done(Forever("work", logger, on_return), step)
    assert order[:2] == ["caught up", "worked"]
    assert order.count("caught up") == 1


async def test_a_failure_that_is_not_redis_comes_out() -> None:
    async def step() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Forever("work", logger).run(step)

from __future__ import annotations

import asyncio

from espfleet.store.client import Store


async def test_a_loop_that_is_cancelled_in_any_moment_of_a_command_ends(store: Store) -> None:
    async def work() -> None:
        while True:
            await store.do("PING")
            await store.do_all([("PING",), ("PING",)])

    for steps in range(100):
        loop = asyncio.create_task(work())
        for _ in range(steps):
            await asyncio.sleep(0)
        loop.cancel()
        ended, _ = await asyncio.wait({loop}, timeout=30)
        assert ended, f"it runs on after being cancelled {steps} steps from its start"
        assert loop.cancelled()


async def test_a_cancelled_task_can_still_tidy_up(store: Store) -> None:
    began, tidied = asyncio.Event(), []

    async def work() -> None:
        try:
            began.set()
            await asyncio.sleep(60)
        finally:
            tidied.append(await store.do("PING"))

    task = asyncio.create_task(work())
    await began.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=30)
    assert task.cancelled()
    assert tidied == [True]


async def test_a_script_that_is_cancelled_leaves_no_reply_to_the_next_one(store: Store) -> None:
    """Whatever moment it is cancelled in, the others on the same connection get their own answers."""
    for steps in range(60):
        asked = asyncio.create_task(store.run("atomic", ("a",), (2, "ECHO", f"old-{steps}")))
        for _ in range(steps % 20):
            await asyncio.sleep(0)
        asked.cancel()
        assert await store.run("atomic", ("a",), (2, "ECHO", f"new-{steps}")) == [f"new-{steps}".encode()]
        await asyncio.gather(asked, return_exceptions=True)

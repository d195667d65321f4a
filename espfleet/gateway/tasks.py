"""Tasks that belong together: when one fails, or the whole is cancelled, all end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

#: A task that has not ended after this time is cancelled again.
PATIENCE_S = 0.1


async def run_together(work: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run coroutines, by name, until one fails or this is cancelled; then cancel the others and wait for them.

    A ``TaskGroup`` cancels each task once. Until Python 3.12 ``asyncio.wait_for`` loses a cancellation that comes in
    the moment its future is done, and the Redis client uses it with each command: the task then never ends.

    Raises:
        Exception: The first failure.
    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        while waiting := [task for task in tasks if not task.done()]:
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting, timeout=PATIENCE_S)
    for task in done:
        task.result()

"""What runs together ends together: when one part fails, or the whole is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any


async def run_together(work: Mapping[str, Coroutine[Any, Any, None]]) -> None:
    """Run coroutines, by name, until one fails or this is cancelled; then end the others.

    Other than out of a ``TaskGroup`` a failure comes out as itself.

    Raises:
        Exception: The first failure.
    """
    tasks = [asyncio.create_task(coroutine, name=name) for name, coroutine in work.items()]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()

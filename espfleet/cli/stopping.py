"""Running until told to stop: by Ctrl-C, by SIGTERM, or by the end of `up`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

#: Set for a child of `up`: its stdin then ends when `up` does, however that ends.
SUPERVISED = "ESPFLEET_SUPERVISED"
#: What has not ended by itself after this time is told again.
AGAIN_S = 1.2


def run_until_told(
    work: Callable[[], Coroutine[Any, Any, None]],
    patience_s: float = 0.0,
    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run ``work`` until it ends, or Ctrl-C, SIGTERM or the end of `up` stops it; failures come out one by one.

    Args:
        work: Makes the coroutine; it is cancelled when it is to stop, and again when told a second time.
        patience_s: How long it may take to come to its end before it is cancelled again unasked.
        new_loop: Makes the event loop, if it is not to be the usual one.
    """
    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(_until_told(work, patience_s))
    except BaseExceptionGroup as group:
        raise _first(group) from None


async def _until_told(work: Callable[[], Coroutine[Any, Any, None]], patience_s: float) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    told = asyncio.Event()

    def stop() -> None:
        if not told.is_set():
            told.set()
            task.cancel()
            loop.call_later(patience_s + AGAIN_S, cancel)

    def stop_now() -> None:
        if told.is_set():
            task.cancel()
        stop()

    def cancel() -> None:
        # A cancellation that comes while a connection is being made can get lost on its way up.
        task.cancel()
        loop.call_later(AGAIN_S, cancel)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_now)
    if os.environ.get(SUPERVISED):
        loop.add_reader(sys.stdin.fileno(), _at_end_of_stdin, stop)
    try:
        await work()
    except asyncio.CancelledError:
        if not told.is_set():
            raise


def _at_end_of_stdin(stop: Callable[[], None]) -> None:
    with contextlib.suppress(OSError):
        if os.read(sys.stdin.fileno(), 1_024):
            return
    asyncio.get_running_loop().remove_reader(sys.stdin.fileno())
    stop()


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first failure in a group of task groups: the one that ended the others."""
    failure = group.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else failure

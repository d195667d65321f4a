"""A steward that is killed in the middle of sending: nothing is lost, nothing acknowledged is sent again."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from espfleet.domain.points import ENTRY_POINTS, Point, unpack
from espfleet.exports.datadog import Datadog
from espfleet.store import points
from espfleet.store.client import Store
from espfleet.workers.sender import AT_ONCE, Sender
from tests.conftest import wait_until
from tests.workers.test_sender import Sink, sink

__all__ = ["sink"]
ROOT = Path(__file__).parents[2]
ENTRIES = 3 * AT_ONCE


def steward_process(home: Path, sink: Sink, redis_url: str) -> subprocess.Popen[bytes]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "ESPFLEET_HOME": str(home),
        "TMPDIR": os.environ["TMPDIR"],
        "REDIS_URL": redis_url,
        "DATADOG_API_KEY": "k3y",
        "DATADOG_URL": sink.url,
    }
    return subprocess.Popen([sys.executable, "-P", "-m", "espfleet", "run", "steward"], env=environ)


async def left_in_the_outbox(store: Store) -> set[str]:
    """Return names of the points that are not acknowledged."""
    rows = await store.redis.xrange(store.keys.outbox())
    return {point.name for _, fields in rows for point in unpack(fields[b"p"])}


async def test_a_killed_steward_loses_no_metric_and_sends_none_twice_that_was_acknowledged(
    store: Store, sink: Sink, redis_url: str, tmp_path: Path
) -> None:
    names = [f"m{number}" for number in range(ENTRIES * ENTRY_POINTS)]
    at_s = int(time.time())
    await points.append(store, [Point(name, 1.0, at_s) for name in names])
    reached, go_on, judge = threading.Event(), threading.Event(), sink.judge

    def third_is_slow(series: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
        if len(sink.accepted) >= 2 * AT_ONCE * ENTRY_POINTS:
            # Datadog has it and takes it; whether its answer arrives is another matter.
            reached.set()
            go_on.wait(30)
        return judge(series)

    sink.judge = third_is_slow  # type: ignore[method-assign]
    steward = steward_process(tmp_path, sink, redis_url)
    try:
        await wait_until(reached.is_set, timeout_s=60)
        steward.send_signal(signal.SIGKILL)
        await asyncio.to_thread(steward.wait, 10)
        left = await left_in_the_outbox(store)
        acknowledged = set(names) - left
        # In mid-send: some are through, some are not.
        assert len(acknowledged) == 2 * AT_ONCE * ENTRY_POINTS
        go_on.set()
        await wait_until(lambda: len(ours(sink)) == len(names))

        heir = Sender(store, Datadog(url=sink.url, api_key="k3y").post)
        while await heir.step():
            pass
    finally:
        go_on.set()
        steward.kill()
        steward.wait(30)
    count = Counter(ours(sink))
    assert set(count) == set(names)
    assert {name for name, times in count.items() if times > 1} <= left
    assert not await left_in_the_outbox(store) & set(names)


def ours(sink: Sink) -> list[str]:
    return [name for name, _ in sink.accepted if name.startswith("m")]

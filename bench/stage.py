"""What benches of gateways stand on: a Redis with registered lamps, and one who publishes levels like a leveler."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.gateway import set_up
from bench.reply_to_lamp import ROOT
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.store import levels
from espfleet.store.client import Store, open_store
from espfleet.store.embedded import embedded_server
from espfleet.store.leases import Lease

GROUP = "wan"
BEAT_S = 0.5


class Stage:
    """A fleet of lamps that all watch one group.

    Attributes:
        url: Of its Redis.
        store: The same, open.
        hellos: What the lamps say first.
    """

    def __init__(self, url: str, store: Store, hellos: list[str], lease: Lease) -> None:
        self.url = url
        self.store = store
        self.hellos = hellos
        self._shard = shard_of(GROUP, store.shards)
        self._lease = lease

    async def publish(self, level: int) -> int:
        """Publish a level, 0 to 100; return the number of the publication."""
        shown = GroupLevel(group=GROUP, level=level, state=State.OK, at_ms=1)
        return await levels.publish(self.store, self._shard, self._lease.fence, [shown], 1)

    async def beat(self, every_s: float) -> None:
        """Keep the level fresh until cancelled."""
        while True:
            await levels.publish(self.store, self._shard, self._lease.fence, [], 1)
            await asyncio.sleep(every_s)


@asynccontextmanager
async def stage(lamps: int, beat_s: float = BEAT_S) -> AsyncIterator[Stage]:
    """Set up so many lamps, and tell each ``beat_s`` that their level is fresh."""
    with tempfile.TemporaryDirectory(prefix="ef") as data, embedded_server(Path(data)) as url:
        async with open_store(url, name="bench") as store:
            hellos = await set_up(store, lamps)
            lease = await Lease.take(store, f"s{shard_of(GROUP, store.shards)}", "bench", 600_000)
            assert lease is not None
            ready = Stage(url, store, hellos, lease)
            await ready.publish(20)
            beating = asyncio.create_task(ready.beat(beat_s))
            try:
                yield ready
            finally:
                beating.cancel()
                await asyncio.wait([beating], timeout=1)


@contextmanager
def gateway(url: str, port: int, options: Sequence[str] = (), **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a gateway as its supervisor would."""
    environ = {**os.environ, "REDIS_URL": url, "SERVER_PORT": str(port), "PYTHONPATH": str(ROOT), **settings}
    command = [sys.executable, "-P", "-m", "espfleet", "run", "gateway", *options]
    quiet = subprocess.DEVNULL
    with (
        tempfile.TemporaryDirectory(prefix="ef") as folder,
        subprocess.Popen(command, cwd=folder, env=environ, stdin=quiet, stdout=quiet, stderr=quiet) as process,
    ):
        try:
            yield process
        finally:
            process.kill()

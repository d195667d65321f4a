"""The invariants: what must hold at every moment, however much is broken."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from espfleet.domain.points import Point
from espfleet.domain.shards import shard_of
from espfleet.domain.states import ORANGE_LEVEL
from espfleet.errors import StoreError
from espfleet.store import points, workers
from tests.chaos.world import DOOR, World

LOOK_S = 0.25
#: A gateway takes levels for old after 3 s without a beat, and a lamp's lease ends 1.5 s after its last level.
GREEN_WITHOUT_NEWS_S = 4.5
#: A dead target turns red within some probes; where the way is broken meanwhile its group is unknown sooner.
GREEN_WITHOUT_TARGET_S = 8.0
#: What a worker told of itself is read for so long after it is no longer so.
TOLD_S = 5.0
#: A wrong look counts when the next one is wrong too: a look may fall between the pieces of a burst.
LOOKS = 2


class Watch:
    """Looks at everything four times a second.

    Args:
        world: What to look at.
        slack_s: Added to every time that is allowed, for a busy machine.

    Attributes:
        broken: Invariants that did not hold, each once with its first moment.
        looks: Looks at lamps.
        greens: Of those, how many were green.
        counting: Whether metrics are still put into the outbox.
        counted: Metrics that were put into the outbox and confirmed.
    """

    def __init__(self, world: World, slack_s: float) -> None:
        self.broken: dict[str, str] = {}
        self.looks = 0
        self.greens = 0
        self.counting = True
        self.counted: list[int] = []
        self._world = world
        self._slack_s = slack_s
        self._began_s = time.monotonic()
        self._news_s: dict[int, float] = defaultdict(time.monotonic)
        self._highest: dict[str, int] = {}
        self._wrong: dict[str, int] = defaultdict(int)
        self._twice_s: dict[str, float] = {}
        self._seqs: dict[str, set[int]] = defaultdict(set)
        self._read_to: dict[int, bytes] = defaultdict(lambda: b"0-0")

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lamps())
            tasks.create_task(self._listen())
            tasks.create_task(self._numbers())
            tasks.create_task(self._count())

    def fail(self, what: str, detail: str) -> None:
        """Note a broken invariant."""
        self.broken.setdefault(what, f"after {time.monotonic() - self._began_s:.1f} s: {detail}")

    # --- what lamps show

    async def _lamps(self) -> None:
        """No lamp is green when its levels stopped, or when its target has been dead for long."""
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            for simulator in self._world.simulators:
                for view in simulator.looks():
                    self.looks += 1
                    green = view.word == "level" and view.level is not None and view.level < ORANGE_LEVEL
                    self.greens += green
                    group = view.group or ""
                    old_s = now_s - self._news_s[shard_of(group, self._world.direct.shards)]
                    closed_s = self._world.door.closed_s
                    self._judge(
                        f"{view.name} stale",
                        "no lamp is green without fresh levels",
                        green and old_s > GREEN_WITHOUT_NEWS_S + self._slack_s,
                        f"{view.name} shows {view.level} of {group}, of which nothing came for {old_s:.1f} s",
                    )
                    dead_s = now_s - closed_s if group == DOOR and closed_s is not None else 0.0
                    self._judge(
                        f"{view.name} dead",
                        "no lamp is green while its target is dead",
                        green and dead_s > GREEN_WITHOUT_TARGET_S + self._slack_s,
                        f"{view.name} shows {view.level} of {group}, dead for {dead_s:.1f} s",
                    )

    def _judge(self, key: str, what: str, wrong: bool, detail: str) -> None:
        self._wrong[key] = self._wrong[key] + 1 if wrong else 0
        if self._wrong[key] >= LOOKS:
            self.fail(what, detail)

    # --- what is published

    async def _listen(self) -> None:
        """Each publication of a shard has a higher number than the one before, whoever made it."""
        while True:
            try:
                client = redis.asyncio.Redis(unix_socket_path=str(self._world.redis_socket), socket_timeout=10)
                async with client, client.pubsub() as subscriber:
                    await subscriber.psubscribe("espfleet:{s*}:channel")
                    while True:
                        message = await subscriber.get_message(ignore_subscribe_messages=True, timeout=1.0)
                        if message is not None:
                            self._published(json.loads(message["data"]))
            except (RedisError, OSError):
                await asyncio.sleep(0.1)

    def _published(self, told: dict[str, Any]) -> None:
        shard, seq = int(told["shard"]), int(told["seq"])
        self._news_s[shard] = time.monotonic()
        known = self._highest.get(f"seq {shard}", 0)
        if seq < known or ("levels" in told and seq == known):
            self.fail("numbers of publications grow", f"shard {shard}: {seq} came after {known}")
        self._highest[f"seq {shard}"] = max(seq, known)

    async def _numbers(self) -> None:
        """Fences and versions never go back, a shard has one owner, and no entry of a prober is missing."""
        store = self._world.direct
        keys, shards = store.keys, range(store.shards)
        while True:
            await asyncio.sleep(2 * LOOK_S)
            if self._world.redis_down:
                continue
            try:
                found = await store.do_all(
                    [("GET", keys.version()), *(("GET", keys.fence(f"s{shard}")) for shard in shards)]
                )
                for name, value in zip(["version", *(f"fence {shard}" for shard in shards)], found, strict=True):
                    number = int(value or 0)
                    if number < self._highest.get(name, 0):
                        self.fail("fences and versions never go back", f"{name}: {number}")
                    self._highest[name] = max(number, self._highest.get(name, 0))
                self._owners(await workers.alive(store, "leveler"))
                for shard in shards:
                    await self._read(shard)
            except StoreError:
                continue

    def _owners(self, levelers: dict[str, dict[str, Any]]) -> None:
        now_s = time.monotonic()
        frozen = {str(worker.pid) for worker in self._world.workers if worker.frozen}
        counts: dict[str, int] = defaultdict(int)
        for name, info in levelers.items():
            if not frozen & set(name.split("-")):
                for shard in info["shards"]:
                    counts[str(shard)] += 1
            if info["gaps"]:
                self.fail("no sample is cut off unread", f"{name} counted {info['gaps']} entries")
        self._twice_s = {shard: self._twice_s.get(shard, now_s) for shard, count in counts.items() if count > 1}
        for shard, since_s in self._twice_s.items():
            if now_s - since_s > TOLD_S + self._slack_s:
                self.fail("a shard has one owner", f"shard {shard} has two for {now_s - since_s:.1f} s")

    async def _read(self, shard: int) -> None:
        store = self._world.direct
        key = store.keys.samples(shard)
        while True:
            entries = await store.do("XRANGE", key, b"(" + self._read_to[shard], "+", "COUNT", 1_000)
            for entry_id, fields in entries:
                self._read_to[shard] = entry_id
                self._seqs[fields[b"w"].decode()].add(int(fields[b"q"]))
            if len(entries) < 1_000:
                return

    def missing_entries(self) -> int:
        """Return how many entries of probers never came, between the first and the last that did."""
        return sum(max(seqs) - min(seqs) + 1 - len(seqs) for seqs in self._seqs.values())

    @property
    def entries(self) -> int:
        """How many entries of probers came."""
        return sum(map(len, self._seqs.values()))

    # --- metrics

    async def _count(self) -> None:
        """Put a numbered metric into the outbox each second; those that were confirmed must all arrive."""
        number = 0
        while self.counting:
            await asyncio.sleep(1.0)
            number += 1
            try:
                await points.append(
                    self._world.direct, [Point("chaos.count", float(number), int(time.time()), ("run:1",))]
                )
            except StoreError:
                continue
            self.counted.append(number)

    def missing_metrics(self) -> list[int]:
        """Return the numbers that were confirmed and have not arrived."""
        arrived = {int(value) for name, value in list(self._world.sink.accepted) if name == "chaos.count"}
        return [number for number in self.counted if number not in arrived]

"""The invariants: what must hold at every moment, however much is broken."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import defaultdict, deque
from typing import Any

from espfleet.domain.jobs import Job, JobKind
from espfleet.domain.points import Point
from espfleet.domain.shards import shard_of
from espfleet.domain.states import ORANGE_LEVEL, State
from espfleet.errors import StoreError
from espfleet.services import jobs
from espfleet.simulator.lamp import Lamp
from espfleet.store import events, points, registry, workers
from espfleet.store.client import Command
from espfleet.store.feed import Beat, Feed, LevelsChanged, Topic
from espfleet.store.levels import BEAT_TTL_MS
from tests.chaos.losses import Losses
from tests.chaos.news import News
from tests.chaos.world import DOOR, Worker, World

LOOK_S = 0.25
#: A gateway takes levels for old after 3 s without a beat, and a lamp's lease ends 1.5 s after its last level.
GREEN_WITHOUT_NEWS_S = 4.5
#: A dead target turns red within some probes; where the way is broken meanwhile its group is unknown sooner.
GREEN_WITHOUT_TARGET_S = 8.0
#: What a worker told of itself is read for so long after it is no longer so.
TOLD_S = 5.0
#: What Redis was told so shortly before it is killed may be lost: it writes its log to the disk once a second.
LOST_S = 1.0
#: Entries of a prober are looked for so often, and it writes one so often.
SEEN_S = 2 * LOOK_S + 1.0
#: Jobs of the board that are written again and again, each by another pin that nothing uses.
JOBS, SPARE_PIN, JOB_S = 5, 23, 2.0
DUTIES = ("lead:sweep", "lead:history", "lead:outages", "lead:boards", "lead:metrics")
#: So many moments are told when an invariant did not hold.
MOMENTS = 5
#: Of each group so many publications are told then.
KEPT = 6
#: Of each stream so many looks are remembered.
KEPT_LOOKS = 60
#: A wrong look counts when the next one is wrong too: a look may fall between the pieces of a burst.
LOOKS = 2


class Watch:
    """Looks at everything four times a second.

    Args:
        world: What to look at.
        slack_s: Added to every time that is allowed, for a busy machine.

    Attributes:
        broken: Invariants that did not hold, each with the first moments when it did not.
        times: How often each of them did not.
        looks: Looks at lamps.
        greens: Of those, how many were green.
        counting: Whether metrics are still put into the outbox.
        counted: Metrics that were put into the outbox, and when that was confirmed.
        jobs: Jobs that were written and confirmed.
    """

    def __init__(self, world: World, slack_s: float) -> None:
        self.broken: dict[str, list[str]] = {}
        self.times: dict[str, int] = defaultdict(int)
        self.looks = 0
        self.greens = 0
        self.counting = True
        self.counted: dict[int, float] = {}
        self.jobs = 0
        self._world = world
        self._slack_s = slack_s
        self._began_s = time.monotonic()
        self._news = News(GREEN_WITHOUT_NEWS_S + slack_s, self._began_s)
        self._published: dict[str, deque[str]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._losses = Losses()
        self._events_to = ""
        #: By name of a number, the highest, and when it was seen first.
        self._highest: dict[str, tuple[int, float]] = {}
        self._wrong: dict[str, int] = defaultdict(int)
        self._twice_s: dict[str, float] = {}
        self._owner_of: dict[tuple[str, int], bytes] = {}
        #: By prober, when each of its entries was seen first.
        self._seqs: dict[str, dict[int, float]] = defaultdict(dict)
        self._due: dict[str, int] = {}
        self._jobs: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self._read_to: dict[int, bytes] = defaultdict(lambda: b"0-0")
        #: By shard, when its newest entry was there, and which that was.
        self._newest: dict[int, deque[tuple[float, bytes]]] = defaultdict(lambda: deque(maxlen=KEPT_LOOKS))
        self._looked_after_s = float("-inf")

    async def run(self) -> None:
        """Watch until cancelled."""
        # It may have taken long until everything ran.
        self._news = News(GREEN_WITHOUT_NEWS_S + self._slack_s, time.monotonic())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lamps())
            tasks.create_task(self._listen())
            tasks.create_task(self._numbers())
            tasks.create_task(self._count())
            tasks.create_task(self._write_jobs())

    def fail(self, what: str, detail: str, at_s: float | None = None) -> None:
        """Note a broken invariant: the first moments of it, and how often in all."""
        moments = self.broken.setdefault(what, [])
        if len(moments) < MOMENTS:
            moments.append(f"after {(at_s or time.monotonic()) - self._began_s:.1f} s: {detail}")
        self.times[what] += 1

    # --- what lamps show

    async def _lamps(self) -> None:
        """No lamp is green when its levels stopped, or when its target has been dead for long."""
        while True:
            await asyncio.sleep(LOOK_S)
            now_s = time.monotonic()
            self._note_troubles(now_s)
            for at_s, what in self._news.lies(now_s):
                self.fail("no lamp is green without fresh levels", what, at_s)
            for simulator in self._world.simulators:
                for lamp in [session.lamp for session in simulator._sessions.values()]:
                    self._note_seq(lamp)
                for view in simulator.looks():
                    self.looks += 1
                    green = view.word == "level" and view.level is not None and view.level < ORANGE_LEVEL
                    self.greens += green
                    group = view.group or ""
                    shard = shard_of(group, self._world.direct.shards)
                    old_s = self._news.age_s(shard, now_s)
                    if self._seems(f"{view.name} stale", green and old_s > GREEN_WITHOUT_NEWS_S + self._slack_s):
                        told = f"{view.name} shows {view.level} of {group}, of which nothing came for {old_s:.1f} s"
                        self._news.doubt(shard, now_s, told)
                    closed_s = self._world.door.closed_s
                    dead_s = now_s - closed_s if group == DOOR and closed_s is not None else 0.0
                    self._judge(
                        f"{view.name} dead",
                        "no lamp is green while its target is dead",
                        green and dead_s > GREEN_WITHOUT_TARGET_S + self._slack_s,
                        f"{view.name} shows {view.level} of {group}, dead for {dead_s:.1f} s; "
                        f"published were {', '.join(self._published[group])}",
                    )

    def _note_troubles(self, now_s: float) -> None:
        self._losses.troubled([one.pid for one in self._gateways if one.frozen], now_s)
        # Behind a Sentinel, and on a Cluster, it leads nowhere.
        if not self._world.back.is_well:
            self._losses.all_troubled(now_s)

    def _note_seq(self, lamp: Lamp) -> None:
        """A lamp is never told a level that is older than the one it knows."""
        heard = lamp.situation.heard
        if heard is None or heard.state != State.OK or not lamp._seq:
            return
        self._grows("levels of a lamp never go back", f"lamp {lamp.spec.id}", lamp._seq)

    def _judge(self, key: str, what: str, wrong: bool, detail: str) -> None:
        if self._seems(key, wrong):
            self.fail(what, detail)

    def _seems(self, key: str, wrong: bool) -> bool:
        """Return whether something has been wrong for some looks."""
        self._wrong[key] = self._wrong[key] + 1 if wrong else 0
        return self._wrong[key] >= LOOKS

    # --- what is published

    async def _listen(self) -> None:
        """Each publication of a shard has a higher number than the one before, whoever made it."""
        async with Feed(self._world.direct, [Topic.LEVELS]) as feed:
            async for told in feed:
                if isinstance(told, Beat | LevelsChanged):
                    self._news.heard(told.shard, time.monotonic())
                    changed = isinstance(told, LevelsChanged)
                    self._grows("numbers of publications grow", f"shard {told.shard}", told.seq, changed)
                if isinstance(told, LevelsChanged):
                    at_s = time.monotonic() - self._began_s
                    for one in told.levels:
                        text = f"{at_s:.1f} s {one.level} {one.state.value} ({one.reason})"
                        self._published[one.group].append(text)

    async def _numbers(self) -> None:
        """Fences and versions never go back, a shard has one owner, and no entry of a prober is missing."""
        store = self._world.direct
        keys, shards = store.keys, range(store.shards)
        while True:
            await asyncio.sleep(2 * LOOK_S)
            if self._world.redis_down:
                continue
            try:
                duties = [*(f"s{shard}" for shard in shards), *DUTIES]
                asked: list[Command] = [("GET", keys.version()), *(("PTTL", keys.beat(shard)) for shard in shards)]
                for duty in duties:
                    # The fence twice: if it is the same one, the owner between is its owner.
                    asked += [("GET", keys.fence(duty)), ("GET", keys.owner(duty)), ("GET", keys.fence(duty))]
                version, *found = await store.do_all(asked)
                self.note_beats(found[: len(shards)])
                del found[: len(shards)]
                self._grows("fences and versions never go back", "version", int(version or 0))
                for duty, before, owner, after in zip(duties, found[::3], found[1::3], found[2::3], strict=True):
                    self._grows("fences and versions never go back", f"fence of {duty}", int(after or 0))
                    if owner is not None and before == after:
                        self._owned(duty, int(after or 0), owner)
                self._owners(await workers.alive(store, "leveler"))
                await self._look_for_lost()
                for shard in shards:
                    await self._read(shard)
                await self._read_events()
            except StoreError:
                continue

    async def _read_events(self) -> None:
        """Nobody is told to have lost a gateway that was there all the time."""
        store, now_s = self._world.direct, time.monotonic()
        if not self._events_to:
            self._events_to = next((one.event_id for one in await events.latest(store, 1)), "0")
        alive = [one.pid for one in self._gateways if one.lives]
        told = await events.read(store, self._events_to, 1_000)
        for what in self._losses.false(told, alive, now_s):
            self.fail("no lamp is told to have lost a gateway that is there", what)
        self._events_to = told[-1].event_id if told else self._events_to

    def note_beats(self, left_ms: list[int]) -> None:
        """Take what a shard's beat tells of its news too: the feed here may be back later than that of a gateway."""
        now_s = time.monotonic()
        for shard, left in enumerate(left_ms):
            # One that lasts longer was left by a clock that was ahead.
            if 0 < left <= BEAT_TTL_MS:
                self._news.heard(shard, now_s - (BEAT_TTL_MS - left) / 1_000)

    def _grows(self, what: str, name: str, number: int, strictly: bool = False) -> None:
        """A number never goes back, but for what was lost in the last second before Redis was killed."""
        known, known_s = self._highest.get(name, (0, 0.0))
        if number > known:
            self._highest[name] = (number, time.monotonic())
        elif number < known or strictly:
            if not any(0 <= kill_s - known_s <= LOST_S + SEEN_S for kill_s in self._kills_s):
                self.fail(what, f"{name}: {number} came after {known}")
            self._highest[name] = (number, time.monotonic())

    def _owned(self, duty: str, fence: int, owner: bytes) -> None:
        """One fence is one owner's: who takes a duty over gets a higher one, and late writers are refused by it."""
        if (first := self._owner_of.setdefault((duty, fence), owner)) != owner:
            self.fail("a duty has one owner at a time", f"{duty}: {first!r} and {owner!r} by the same fence {fence}")

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
                self._seqs[fields[b"w"].decode()].setdefault(int(fields[b"q"]), time.monotonic())
            if len(entries) < 1_000:
                self._newest[shard].append((time.monotonic(), self._read_to[shard]))
                return

    async def _look_for_lost(self) -> None:
        """After Redis was killed, what it was told until a second before is still there."""
        killed_s = self._kills_s[-1] if self._kills_s else self._looked_after_s
        if killed_s == self._looked_after_s:
            return
        store = self._world.direct
        for shard, seen in self._newest.items():
            sure = [entry_id for at_s, entry_id in seen if at_s <= killed_s - LOST_S]
            if (
                sure
                and sure[-1] != b"0-0"
                and not await store.do("XRANGE", store.keys.samples(shard), sure[-1], sure[-1])
            ):
                told = f"shard {shard}: {sure[-1].decode()}, killed after {killed_s - self._began_s:.1f} s"
                self.fail("Redis loses its last second at most", told)
        self._looked_after_s = killed_s

    async def read_up(self) -> bool:
        """Read all streams up to now; what was written before the newest entries that were known is there then."""
        # One stream is read after the other: an entry of one read early may be younger than the newest of a later one.
        self._due = {worker: max(seqs) for worker, seqs in self._seqs.items()}
        try:
            for shard in range(self._world.direct.shards):
                await self._read(shard)
        except StoreError:
            return False
        return True

    def missing_entries(self) -> tuple[list[str], int]:
        """Return the entries of probers that never came, between the first and the last that did.

        Returns:
            Those that must not be missing, and how many others were written in the last second before Redis was killed.
        """
        missing, excused = [], 0
        for worker, seqs in self._seqs.items():
            due = self._due.get(worker, 0)
            known = sorted(seq for seq in seqs if seq <= due)
            for before, after in itertools.pairwise(known):
                if after == before + 1:
                    continue
                if any(seqs[before] >= kill_s - LOST_S - SEEN_S and seqs[after] > kill_s for kill_s in self._kills_s):
                    excused += after - before - 1
                    continue
                at_s = [round(seqs[seq] - self._began_s, 1) for seq in (before, after)]
                missing.append(f"{worker}: {before + 1} to {after - 1}, between {at_s[0]} and {at_s[1]} s")
        return missing, excused

    @property
    def _gateways(self) -> list[Worker]:
        return [worker for worker in self._world.workers if worker.role == "gateway"]

    @property
    def _kills_s(self) -> list[float]:
        return self._world.kills_s

    def _may_be_lost(self, confirmed_s: float) -> bool:
        return any(0 <= kill_s - confirmed_s <= LOST_S for kill_s in self._kills_s)

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
            self.counted[number] = time.monotonic()

    def missing_metrics(self) -> list[int]:
        """Return the numbers that were confirmed and have not arrived."""
        arrived = {int(value) for name, value in list(self._world.sink.accepted) if name == "chaos.count"}
        return [
            number
            for number, confirmed_s in self.counted.items()
            if number not in arrived and not self._may_be_lost(confirmed_s)
        ]

    # --- jobs

    async def _write_jobs(self) -> None:
        """Write jobs one after the other, each with a number; the last that was confirmed must stay."""
        number = 0
        while self.counting:
            await asyncio.sleep(JOB_S)
            number += 1
            name = f"n{number % JOBS}"
            job = Job(
                device_id=self._world.board.id,
                name=name,
                pin=SPARE_PIN,
                kind=JobKind.TIMER,
                start_s=number,
                paused=True,
            )
            try:
                await jobs.add(self._world.direct, job)
            except StoreError:
                continue
            self.jobs += 1
            self._jobs[name].append((number, time.monotonic()))

    async def missing_jobs(self) -> list[str]:
        """Return jobs that were confirmed and are not there as they were written."""
        stored = (await registry.load(self._world.direct)).jobs_of.get(self._world.board.id, ())
        found = {job.name: job.start_s for job in stored}
        missing = []
        for name, written in self._jobs.items():
            sure = [number for number, confirmed_s in written if not self._may_be_lost(confirmed_s)]
            if sure and found.get(name, 0) < sure[-1]:
                missing.append(f"{name}: {sure[-1]} was confirmed, {found.get(name)} is there")
        return missing

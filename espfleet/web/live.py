"""The live feed: what changes in the fleet, encoded once for all who look.

Changes of levels that come within ``TICK_S`` become one message, readings that come within ``READINGS_S`` another. The
latest messages are kept, so that a reader that comes back goes on where it was; one that falls behind them is cut, and
comes back to begin anew.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from itertools import islice
from typing import Any

from espfleet.domain import outages
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel
from espfleet.errors import StoreError
from espfleet.services import levels
from espfleet.store import presence, registry
from espfleet.store.client import Store
from espfleet.store.events import Event
from espfleet.store.feed import Beat, EventSent, Feed, LevelsChanged, ReadingsSent, RegistryChanged, Resync, Topic
from espfleet.store.presence import PresenceInfo
from espfleet.store.readings import Report

#: With the way from leveler to browser it keeps level → pixel within 250 ms.
TICK_S = 0.08
#: Ten thousand lamps report all the time: of each only the newest is told, this often.
READINGS_S = 1.0
#: Each reader hears something at least this often; a browser that hears nothing for three beats shows its lamps stale.
BEAT_S = 1.0
#: So long after the last look the numbers of all devices are still taken in, for readers that come back.
RESUME_S = 60.0
#: The owner of a shard beats once a second.
SILENCE_S = 3.0
#: Messages kept for those who come back: so many, and together so long.
KEPT = 2_048
KEPT_BYTES = 16 * 2**20
#: What a reader may choose among.
KINDS = ("levels", "presence", "readings", "event", "registry", "told")
_ALWAYS = ("hello", "beat")


class Live:
    """What happens, as server-sent events.

    Args:
        store: Where the fleet is kept.
        clock: Returns ms since the epoch, by the clock of Redis: browsers learn from it how far theirs is off.

    Attributes:
        epoch: Name of this run; ids of messages begin with it.
        cut: Readers that were cut for being slow.
        registry: Grows with each change of the registry that is heard of: tokens may have ended.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self.epoch = secrets.token_hex(4)
        self.cut = 0
        self.registry = 0
        self._store = store
        self._clock = clock
        self._kept: deque[tuple[str, bytes]] = deque()
        self._kept_bytes = 0
        self._newest = 0
        self._pending: dict[str, GroupLevel] = {}
        self._reports: dict[str, Report] = {}
        self._shown: dict[str, tuple[int, str]] = {}
        self._heard_s: dict[int, float] = {}
        self._news = asyncio.Event()
        self._readers: set[asyncio.Event] = set()
        self._looked_s = -RESUME_S
        self._stale = True
        self._closed = False
        self._greeting: asyncio.TimerHandle | None = None

    @property
    def readers(self) -> int:
        """How many are looking."""
        return len(self._readers)

    @property
    def position(self) -> str:
        """The id of the latest message: whoever reads the fleet now can follow on from there."""
        self._looked_s = time.monotonic()
        return f"{self.epoch}-{self._newest}"

    async def run(self) -> None:
        """Follow the fleet until cancelled; all readers end then."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._follow(), name="feed")
                tasks.create_task(self._tick(), name="tick")
                tasks.create_task(self._tell_readings(), name="readings")
                tasks.create_task(self._beat(), name="beat")
        finally:
            self._greet_once_more(None)
            self._closed = True
            self._wake()

    async def _follow(self) -> None:
        topics = (Topic.LEVELS, Topic.REGISTRY, Topic.EVENTS, Topic.READINGS)
        async with Feed(self._store, topics) as feed:
            async for message in feed:
                if isinstance(message, LevelsChanged | Beat):
                    self._heard_s[message.shard] = time.monotonic()
                if isinstance(message, LevelsChanged):
                    self._pending.update((level.group, level) for level in message.levels)
                elif isinstance(message, RegistryChanged):
                    self._changed()
                    self.tell("registry", {"version": message.version})
                elif isinstance(message, ReadingsSent):
                    if self._readers or time.monotonic() - self._looked_s < RESUME_S:
                        self._report(message.reports)
                elif isinstance(message, EventSent):
                    event = message.event
                    self.tell(
                        "presence" if event.kind == "presence" else "event",
                        event_row(event),
                    )
                elif isinstance(message, Resync):
                    self._stale = True
                    self._changed()
                    # Who came, went or was changed meanwhile is not known here.
                    self._greet()
                    # Where Redis itself was away, nobody seems to be there until gateways have said so.
                    self._greet_once_more(presence.GRACE_S)

    def _greet(self) -> None:
        """Tell all readers to begin anew."""
        self.tell("hello", {"epoch": self.epoch, "resumed": False})

    def _greet_once_more(self, after_s: float | None) -> None:
        """Greet once more, after some time, and not at an earlier one; or not at all."""
        if self._greeting is not None:
            self._greeting.cancel()
        if after_s is not None:
            self._greeting = asyncio.get_running_loop().call_later(after_s, self._greet)

    def _changed(self) -> None:
        self.registry += 1
        self._news.set()
        self._news = asyncio.Event()

    async def changed_after(self, seen: int) -> int:
        """Wait until ``registry`` is not ``seen``, and return what it is."""
        while self.registry == seen:
            await self._news.wait()
        return self.registry

    def _report(self, reports: Mapping[str, Report]) -> None:
        for device_id, report in reports.items():
            before = self._reports.get(device_id)
            values = {**before.values, **report.values} if before else report.values
            self._reports[device_id] = Report(values, report.at_ms)

    async def _tell_readings(self) -> None:
        while True:
            await asyncio.sleep(READINGS_S)
            if self._reports:
                rows = {key: {"at_ms": one.at_ms, "values": one.values} for key, one in self._reports.items()}
                self._reports = {}
                self.tell("readings", {"at_ms": self._clock(), "readings": rows})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            if self._pending:
                self._tell_levels(self._pending)
                self._pending = {}

    def _tell_levels(self, changed: Mapping[str, GroupLevel]) -> None:
        self._shown.update((name, (level.level, level.state.value)) for name, level in changed.items())
        rows = {name: level_row(level) for name, level in changed.items()}
        self.tell("levels", {"at_ms": self._clock(), "levels": rows})

    def absent(self, device_id: str, info: PresenceInfo) -> None:
        """Tell who is there as it was found, and not as an event has told."""
        reason = info.reason.value if info.reason else None
        told = {"device": device_id, "presence": info.presence.value, "reason": reason, "gateway": info.gateway}
        # It has no id: it is no event of those that are kept.
        self.tell("presence", {**told, "kind": presence.EVENT, "at_ms": info.seen_ms})

    async def _beat(self) -> None:
        """Tell readers that all holds; read the levels again when something may have been missed."""
        while True:
            now_s = time.monotonic()
            quiet = [shard for shard in range(self._store.shards) if now_s - self._heard_s.get(shard, 0.0) > SILENCE_S]
            try:
                if self._stale or quiet:
                    await self._reread(set(range(self._store.shards)) if self._stale else set(quiet))
                    self._stale = False
                self.tell("beat", {"at_ms": self._clock()})
            except StoreError:
                # Nothing is told: readers hear no beat and show what they have as stale.
                self._stale = True
            await asyncio.sleep(BEAT_S)

    async def _reread(self, shards: set[int]) -> None:
        current = await registry.latest(self._store)
        found = await levels.read(self._store, registry=current, now_ms=self._clock())
        changed = {
            name: level
            for name, level in found.items()
            if shard_of(name, self._store.shards) in shards
            and self._shown.get(name) != (level.level, level.state.value)
        }
        if changed:
            self._tell_levels(changed)

    def tell(self, kind: str, data: Mapping[str, Any]) -> None:
        """Tell all readers something."""
        self._newest += 1
        text = json.dumps(data, separators=(",", ":"))
        message = f"id: {self.epoch}-{self._newest}\nevent: {kind}\ndata: {text}\n\n".encode()
        self._kept.append((kind, message))
        self._kept_bytes += len(message)
        while len(self._kept) > KEPT or (self._kept_bytes > KEPT_BYTES and len(self._kept) > 1):
            self._kept_bytes -= len(self._kept.popleft()[1])
        self._wake()

    def _wake(self) -> None:
        for reader in self._readers:
            reader.set()

    async def read(self, last_id: str = "", kinds: Collection[str] = ()) -> AsyncGenerator[bytes, None]:
        """Yield the feed from now on, or from after the message ``last_id`` if that is still known.

        It begins with ``hello``, which says whether it was. Another ``hello`` comes when this process may have missed
        something itself. It ends when the reader has fallen behind what is kept.

        Args:
            last_id: The last message the reader knows.
            kinds: What it wants to hear, of ``KINDS``; all of them if there are none.
        """
        wanted = {*kinds, *_ALWAYS} if kinds else None
        at, resumed = self._position(last_id)
        told = json.dumps({"epoch": self.epoch, "resumed": resumed})
        yield f"retry: 1000\nid: {self.epoch}-{at}\nevent: hello\ndata: {told}\n\n".encode()
        waiting = asyncio.Event()
        self._readers.add(waiting)
        try:
            while not self._closed:
                behind = self._newest - at
                if behind > len(self._kept):
                    self.cut += 1
                    return
                if behind:
                    at = self._newest
                    newest = islice(self._kept, len(self._kept) - behind, None)
                    chunk = b"".join(message for kind, message in newest if wanted is None or kind in wanted)
                    if chunk:
                        yield chunk
                    continue
                waiting.clear()
                await waiting.wait()
        finally:
            self._readers.discard(waiting)
            self._looked_s = time.monotonic()

    def _position(self, last_id: str) -> tuple[int, bool]:
        epoch, _, number = last_id.partition("-")
        if epoch == self.epoch and number.isascii() and number.isdigit() and len(number) < 16:
            at = int(number)
            if self._newest - len(self._kept) <= at <= self._newest:
                return at, True
        return self._newest, False


def event_row(event: Event) -> dict[str, Any]:
    """Return an event as programs see it."""
    row = {**event.fields, "id": event.event_id, "at_ms": event.at_ms, "kind": event.kind}
    if event.kind == outages.EVENT:
        row["sentence"] = outages.sentence(event.fields)
    return row


def level_row(level: GroupLevel) -> dict[str, Any]:
    """Return a level as programs see it."""
    return {
        "group": level.group,
        "level": level.level,
        "state": level.state.value,
        "band": level.band.value if level.band is not None else None,
        "reason": level.reason,
        "at_ms": level.at_ms,
    }

"""What happens in the fleet, as it happens.

Messages of Redis are hints that can be lost without a word. So the feed says ``Resync`` whenever something may have
been missed: whoever reads it then reads levels and registry from where they are kept.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from redis.asyncio.client import PubSub

from espfleet.domain.states import GroupLevel
from espfleet.errors import StoreError
from espfleet.store import events, readings, tags
from espfleet.store.client import Store
from espfleet.store.events import Event
from espfleet.store.faults import translated
from espfleet.store.readings import Report
from espfleet.store.tags import Tag

logger = logging.getLogger(__name__)

#: Each shard's owner beats once a second: after three missed beats the connection is not to be trusted.
SILENCE_S = 3.0
_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 1.0


class Topic(StrEnum):
    """What a feed may listen to."""

    LEVELS = "levels"
    REGISTRY = "registry"
    COMMANDS = "commands"
    EVENTS = "events"
    READINGS = "readings"
    TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Resync:
    """Something may have been missed: read again what you keep. Comes first, and after each reconnection."""


@dataclass(frozen=True, slots=True)
class Beat:
    """The levels of a shard still hold; ``seq`` is the number of its latest publication."""

    shard: int
    seq: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class LevelsChanged:
    """Levels of a shard that changed; also a beat."""

    shard: int
    seq: int
    at_ms: int
    levels: tuple[GroupLevel, ...]


@dataclass(frozen=True, slots=True)
class RegistryChanged:
    """The registry has a new version."""

    version: int


@dataclass(frozen=True, slots=True)
class CommandSent:
    """Somebody wants a device to do something."""

    device_id: str
    command: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class EventSent:
    """Something happened."""

    event: Event


@dataclass(frozen=True, slots=True)
class ReadingsSent:
    """Devices reported numbers, by hardware id."""

    reports: Mapping[str, Report]


@dataclass(frozen=True, slots=True)
class TagSent:
    """A camera recognised something."""

    tag: Tag


FeedMessage = Resync | Beat | LevelsChanged | RegistryChanged | CommandSent | EventSent | ReadingsSent | TagSent


class Feed:
    """Messages of some topics, for ever: ``async with Feed(store, topics) as feed: async for message in feed: …``.

    While Redis is away nothing comes; the reader knows by the missing beats. Run it in a task of its own: cancelling
    the wait for a message ends the feed's use.

    Args:
        store: Where the fleet is kept.
        topics: What to listen to.
        silence_s: Silence after which the connection is made anew, in seconds.
    """

    def __init__(self, store: Store, topics: Iterable[Topic], *, silence_s: float = SILENCE_S) -> None:
        self._store = store
        self._silence_s = silence_s
        self._readers = _channels(store, set(topics))
        self._link: PubSub | None = None
        self._waiting: deque[FeedMessage] = deque()
        self._newest: dict[int, int] = {}
        self._heard_s = 0.0
        self._away = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._disconnect()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedMessage:
        pause_s = _FIRST_PAUSE_S
        while not self._waiting:
            try:
                await self._listen()
            except StoreError as exc:
                self._note_away(exc)
                await self._disconnect()
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s = min(pause_s * 2, _LONGEST_PAUSE_S)
        return self._waiting.popleft()

    async def _listen(self) -> None:
        """Wait for what comes next, and put it where it waits for the reader."""
        if self._link is None:
            self._link = await self._connect()
            if self._away:
                self._away = False
                logger.info("the feed is back")
            self._newest.clear()
            self._waiting.append(Resync())
            return
        left_s = self._heard_s + self._silence_s - time.monotonic()
        if left_s <= 0:
            logger.debug("the feed was silent for %g s: it is made anew", self._silence_s)
            await self._disconnect()
            return
        with translated(self._store.url):
            message = await self._link.get_message(timeout=left_s)
        if message is not None and message["type"] == "message":
            self._heard_s = time.monotonic()
            self._take(message["channel"].decode(), message["data"])

    async def _connect(self) -> PubSub:
        link = await self._store.pubsub()
        try:
            with translated(self._store.url):
                await link.subscribe(*self._readers)
                # Only then is it sure that what is read from now on and what is told overlap.
                for _ in self._readers:
                    if await link.get_message(timeout=self._silence_s) is None:
                        raise TimeoutError
        except BaseException:
            await _close(link)
            raise
        self._heard_s = time.monotonic()
        return link

    async def _disconnect(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await _close(link)

    def _take(self, channel: str, data: bytes) -> None:
        try:
            told = self._readers[channel](data)
        except (ValueError, KeyError, TypeError) as exc:
            logger.warning("a message on %s means nothing: %r", channel, exc)
            return
        for found in told:
            if isinstance(found, Beat | LevelsChanged) and self._missed(found):
                self._waiting.append(Resync())
            self._waiting.append(found)

    def _missed(self, found: Beat | LevelsChanged) -> bool:
        """Whether publications of the shard between the last one heard and this one are missing."""
        newest = self._newest.get(found.shard, found.seq)
        self._newest[found.shard] = found.seq
        return not newest <= found.seq <= newest + isinstance(found, LevelsChanged)

    def _note_away(self, exc: StoreError) -> None:
        if not self._away:
            self._away = True
            logger.warning("the feed waits for Redis: %s", exc)


async def _close(link: PubSub) -> None:
    # What broke it has been told already.
    with contextlib.suppress(StoreError), translated("the feed"):
        await link.aclose()  # type: ignore[no-untyped-call]


def _channels(store: Store, topics: set[Topic]) -> dict[str, Callable[[bytes], Sequence[FeedMessage]]]:
    """Return the channels of topics, each with what reads its messages."""
    keys = store.keys
    readers: dict[str, Callable[[bytes], Sequence[FeedMessage]]] = {}
    for number in range(store.shards):
        if Topic.LEVELS in topics:
            readers[keys.levels_channel(number)] = _levels
        if Topic.COMMANDS in topics:
            readers[keys.commands_channel(number)] = _command
    if Topic.REGISTRY in topics:
        readers[keys.registry_channel()] = lambda data: [RegistryChanged(int(data))]
    if Topic.EVENTS in topics:
        readers[keys.events_channel()] = _events
    if Topic.READINGS in topics:
        readers[keys.readings_channel()] = lambda data: [ReadingsSent(readings.parse_told(data))]
    if Topic.TAGS in topics:
        readers[keys.tags_channel()] = lambda data: [TagSent(tags.parse(data))]
    return readers


def _levels(data: bytes) -> list[FeedMessage]:
    told = json.loads(data)
    shard, seq, at_ms = told["shard"], told["seq"], told["at_ms"]
    if "levels" not in told:
        return [Beat(shard, seq, at_ms)]
    levels = tuple(GroupLevel.from_dict(group, values, seq) for group, values in told["levels"].items())
    return [LevelsChanged(shard, seq, at_ms, levels)]


def _command(data: bytes) -> list[FeedMessage]:
    told = json.loads(data)
    return [CommandSent(told["device"], told["command"])]


def _events(data: bytes) -> list[FeedMessage]:
    """Read events that were told together, one a line."""
    lines = [line.partition(" ") for line in data.decode().split("\n")]
    return [EventSent(events.parse(event_id, text)) for event_id, _, text in lines]

"""What happens in the fleet, as it happens.

Messages of Redis are hints that can be lost without a word. So the feed says ``Resync`` whenever something may have
been missed: whoever reads it then reads levels and registry from where they are kept.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Self

from espfleet.domain.states import GroupLevel
from espfleet.store import events, readings, tags
from espfleet.store.client import Store
from espfleet.store.events import Event
from espfleet.store.listening import Listener
from espfleet.store.readings import Report
from espfleet.store.tags import Tag

logger = logging.getLogger(__name__)

#: Each shard's owner beats once a second: after three missed beats the connection is not to be trusted.
SILENCE_S = 3.0


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
    """Devices reported numbers: those of a whole fleet, which are read only where somebody wants to know."""

    text: bytes

    @property
    def reports(self) -> Mapping[str, Report]:
        """What was reported, by hardware id; nothing if it cannot be read."""
        try:
            return readings.parse_told(self.text)
        except (ValueError, TypeError, AttributeError) as exc:
            logger.warning("readings that were told mean nothing: %r", exc)
            return {}


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
        silence_s: Silence after which a connection is made anew, in seconds.
    """

    def __init__(self, store: Store, topics: Iterable[Topic], *, silence_s: float = SILENCE_S) -> None:
        self._readers = _channels(store, set(topics))
        beating = [channel for channel, reader in self._readers.items() if reader is _levels]
        self._listener = Listener(store, self._readers, beating, silence_s)
        self._waiting: deque[FeedMessage] = deque()
        self._newest: dict[int, int] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._listener.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedMessage:
        while not self._waiting:
            heard = await self._listener.next()
            if heard is None:
                self._newest.clear()
                self._waiting.append(Resync())
            else:
                self._take(heard.channel, heard.data)
        return self._waiting.popleft()

    def _take(self, channel: str, data: bytes) -> None:
        try:
            told = self._readers[channel](data)
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
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
        readers[keys.readings_channel()] = lambda data: [ReadingsSent(data)]
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

"""Follows the fleet: levels, registry, commands and events, through every absence of Redis."""

from __future__ import annotations

import asyncio
import logging

from espfleet.domain import apriltags
from espfleet.domain.messages import LampEvent
from espfleet.domain.registry import Registry
from espfleet.domain.shards import shard_of
from espfleet.errors import StoreUnavailableError
from espfleet.gateway.admission import Admission
from espfleet.gateway.commands import Commands
from espfleet.gateway.hub import Hub
from espfleet.gateway.hub_viewers import HubViewers
from espfleet.gateway.reports import EVENT as DEVICE_EVENT
from espfleet.gateway.viewers import Viewers, event_of
from espfleet.store import levels, presence, registry, tags
from espfleet.store.client import Store
from espfleet.store.events import Event
from espfleet.store.feed import (
    Beat,
    CommandSent,
    EventSent,
    Feed,
    FeedMessage,
    LevelsChanged,
    ReadingsSent,
    RegistryChanged,
    Resync,
    TagSent,
    Topic,
)

logger = logging.getLogger(__name__)

#: The version of the registry is asked for this often, for hints can be lost.
POLL_S = 2.0
RETRY_S = 0.3
TOPICS = (Topic.LEVELS, Topic.REGISTRY, Topic.COMMANDS, Topic.EVENTS, Topic.READINGS, Topic.TAGS)
#: How many times as long as loading the registry took it is left alone afterwards, and the longest: who is locked out
#: must be gone within a second.
REST = 4
MOST_REST_S = 0.5


class Follower:
    """Takes what the fleet tells to those whom it concerns.

    Attributes:
        ready: Set when levels and registry are known, and nothing of what follows will be missed.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        hub: Hub,
        viewers: Viewers,
        hub_viewers: HubViewers,
        commands: Commands,
        admission: Admission,
        news: asyncio.Event,
    ) -> None:
        self.ready = asyncio.Event()
        self._store = store
        self._name = name
        self._hub = hub
        self._viewers = viewers
        self._hub_viewers = hub_viewers
        self._commands = commands
        self._admission = admission
        self._news = news
        self._telling: asyncio.TimerHandle | None = None

    async def follow_feed(self) -> None:
        """Take messages as they come, until cancelled."""
        try:
            async with Feed(self._store, TOPICS) as feed:
                async for message in feed:
                    if isinstance(message, Resync):
                        await self._resync()
                    else:
                        self._take(message)
        finally:
            self._tell_once_more(None)

    async def follow_registry(self) -> None:
        """Take changes of the registry: when there may be news, and at least every 2 s."""
        loop = asyncio.get_running_loop()
        await self.ready.wait()
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()
            begun_s = loop.time()
            doubtful = self._admission.doubtful()
            try:
                if await registry.version(self._store) != self._hub.registry.version:
                    await self._load_registry()
                self._admission.decide(doubtful)
            except StoreUnavailableError as exc:
                logger.debug("the registry cannot be read: %s", exc)
                await asyncio.sleep(RETRY_S)
                self._news.set()
            else:
                # Time that a stalled Redis took is no work of ours.
                await asyncio.sleep(min(REST * (loop.time() - begun_s), MOST_REST_S))

    def expire(self, now_s: float) -> None:
        """Show that nothing is known of groups whose shard nobody keeps fresh."""
        shards = self._hub.board.expire(now_s)
        if shards:
            self._show(self._groups_of(set(shards)))
            logger.warning(
                "no levels come for %d of %d shards: their lamps show unknown", len(shards), self._store.shards
            )

    def _take(self, message: FeedMessage) -> None:
        board, now_s = self._hub.board, self._hub.clock()
        if isinstance(message, LevelsChanged):
            was_fresh = board.is_fresh_shard(message.shard)
            is_news = board.take(message.shard, message.levels, message.seq, now_s)
            if not was_fresh:
                self._show(self._groups_of({message.shard}))
            elif is_news:
                self._show({level.group for level in message.levels})
        elif isinstance(message, Beat):
            if board.beat(message.shard, now_s):
                self._show(self._groups_of({message.shard}))
                logger.info("levels come again for shard %d", message.shard)
        elif isinstance(message, RegistryChanged):
            self._news.set()
        elif isinstance(message, CommandSent):
            session = self._hub.sessions.get(message.device_id)
            if session is not None:
                self._commands.sent(session, message.command)
        elif isinstance(message, EventSent):
            self._happened(message.event)
        else:
            self._reported(message)

    def _reported(self, message: FeedMessage) -> None:
        """Take what devices report to those who look."""
        if isinstance(message, ReadingsSent) and len(self._viewers):
            for device_id, report in message.reports.items():
                self._viewers.reading(device_id, report.values, report.at_ms)

        elif isinstance(message, TagSent):
            tag = message.tag
            self._hub_viewers.recognised(tag)
            self._viewers.event(tag.device_id, LampEvent(name=apriltags.EVENT, fields=tag.fields), tag.at_ms)

    def _happened(self, event: Event) -> None:
        fields = event.fields
        if event.kind == presence.EVENT:
            if fields["presence"] == "live" and fields["gateway"] != self._name:
                self._hub.came_elsewhere(
                    fields["device"], fields["gateway"], fields.get("since_ms", 0), fields.get("stays", False)
                )
            self._viewers.presence(fields["device"], fields["presence"], fields["reason"] or "", event.at_ms)
        elif event.kind == DEVICE_EVENT:
            self._viewers.event(fields["device"], event_of(fields), fields["at_ms"])

    async def _resync(self) -> None:
        """Read levels and registry from where they are kept, as soon as that is possible."""
        while True:
            try:
                found = await levels.read_levels(self._store)
                self._hub.board.replace(found.levels, found.fresh_shards, self._hub.clock())
                self._hub_viewers.remember(await tags.latest(self._store))
                if not self.ready.is_set():
                    await self._load_registry()
            except StoreUnavailableError as exc:
                logger.debug("levels and registry cannot be read: %s", exc)
                await asyncio.sleep(RETRY_S)
            else:
                break
        self._news.set()
        self._show(None)
        self._viewers.tell_presence_again()
        # Where Redis itself was away, nobody seems to be there until gateways have said so.
        self._tell_once_more(presence.GRACE_S)
        self.ready.set()

    def _tell_once_more(self, after_s: float | None) -> None:
        """Tell viewers once more who is there, after some time, and not at an earlier one; or not at all."""
        if self._telling is not None:
            self._telling.cancel()
        if after_s is not None:
            self._telling = asyncio.get_running_loop().call_later(after_s, self._viewers.tell_presence_again)

    async def _load_registry(self) -> None:
        loaded: Registry = await registry.load(self._store)
        self._admission.viewer_hashes = tuple(await registry.tokens(self._store))
        self._hub.set_registry(loaded)
        self._viewers.set_registry(loaded, self._admission.viewer_hashes)
        self._hub_viewers.set_tokens(self._admission.viewer_hashes)
        self._admission.relay.review(self._admission.viewer_hashes, self._hub.directory)
        self._viewers.show_levels()

    def _show(self, groups: set[str] | None) -> None:
        self._hub.show_levels(groups)
        self._viewers.show_levels(groups)

    def _groups_of(self, shards: set[int]) -> set[str]:
        return {group for group in self._hub.registry.groups if shard_of(group, self._store.shards) in shards}

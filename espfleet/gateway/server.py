"""The gateway as a whole: what runs in it, and how it starts and stops."""

from __future__ import annotations

import asyncio
import logging
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from espfleet.domain.registry import Registry
from espfleet.domain.states import GroupLevel
from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.gateway.admission import Admission
from espfleet.gateway.commands import Commands
from espfleet.gateway.connection import Connection
from espfleet.gateway.following import Follower
from espfleet.gateway.garbage import Garbage, long_lived_objects
from espfleet.gateway.gathering import Gathering
from espfleet.gateway.hand_over import RETRY_FROM_MS
from espfleet.gateway.hub import Hub
from espfleet.gateway.hub_viewers import HubViewers
from espfleet.gateway.journal import FleetJournal
from espfleet.gateway.levels import LevelBoard
from espfleet.gateway.listening import Server, listen, port_of
from espfleet.gateway.pictures import Pictures
from espfleet.gateway.presence import Attendance
from espfleet.gateway.reports import Reports
from espfleet.gateway.settings import GatewaySettings, Limits
from espfleet.gateway.together import run_together
from espfleet.gateway.updates import Updates
from espfleet.gateway.viewers import Viewers
from espfleet.services.absences import Absences
from espfleet.store import presence, workers
from espfleet.store.client import Store
from espfleet.store.presence import PresenceInfo

__all__ = ["GatewaySettings", "Limits", "run_gateway"]

logger = logging.getLogger(__name__)

ROLE = "gateway"
BEAT_S = 1.0
#: Longest time between two looks at the clock, and how many of them there are in a watchdog.
TICK_MS = 250
TICKS_A_WATCHDOG = 12
#: How long clients may take to leave, and Redis to be told of it, when the gateway stops.
LEAVE_S = 1.0
TELL_S = 0.5
#: Open files that no client has: about 100 to Redis while it is slow, and those of the process itself.
OTHER_FILES = 128
#: Where files are few, so many clients more than may stay are told when to return.
TOLD_LEAST = 32
#: Between two slices of lamps that are handed over.
SLICE_S = 0.02


async def run_gateway(store: Store, settings: GatewaySettings, started: Callable[[int], None] | None = None) -> None:
    """Serve lamps and viewers until cancelled.

    Args:
        store: Where the fleet is kept.
        settings: What can be set.
        started: Called with the port when the first client may come.

    Raises:
        StartError: If the gateway cannot listen.
        StoreError: If the fleet was set up anew with another number of shards.
    """
    limits = within_files(settings.limits, _allow_files())
    if limits is not settings.limits:
        logger.info(
            "the gateway takes %d connections instead of %d, for its process may have no more open files "
            "(ulimit -Hn, or LimitNOFILE= of systemd)",
            limits.connections,
            settings.limits.connections,
        )
    with long_lived_objects():
        await Gateway(store, replace(settings, limits=limits)).run(started)


def within_files(limits: Limits, most: int) -> Limits:
    """Return limits under which a process with so many open files never runs out of them.

    Without a file it could neither ask Redis nor tell a client when to return.
    """
    told = min(limits.told, TOLD_LEAST)
    if limits.connections + limits.told <= most - OTHER_FILES:
        return limits
    return replace(limits, connections=max(1, min(limits.connections, most - OTHER_FILES - told)), told=told)


class Gateway:
    """Everything that makes a gateway, put together."""

    def __init__(self, store: Store, settings: GatewaySettings) -> None:
        self._store = store
        self._settings = settings
        self._servers: list[Server] = []
        self._attendance = Attendance(store, settings)
        self._reports = Reports(store)
        self._gathering = Gathering(store)
        self._viewers = Viewers(settings, self._level_of, partial(presence.read_presence, store))
        self._absences = Absences(store, lambda: len(self._viewers), self._absent)
        self._commands = Commands(self._reports.answered, lambda: self._hub.clock())
        self._updates = Updates(store, self._commands, store.now_ms)
        self._pictures = Pictures(store)
        journal = FleetJournal(
            self._attendance,
            self._reports,
            self._gathering,
            self._commands,
            self._updates,
            self._pictures,
            store.now_ms,
        )
        self._hub = Hub(settings, Registry(), LevelBoard(store.shards), journal, now_ms=store.now_ms)
        news = asyncio.Event()
        self._hub_viewers = HubViewers(settings, store.now_ms)
        self._admission = Admission(settings, self._hub, self._viewers, self._hub_viewers, ask_for_news=news.set)
        self._follower = Follower(
            store, settings.name, self._hub, self._viewers, self._hub_viewers, self._commands, self._admission, news
        )

    async def run(self, started: Callable[[int], None] | None) -> None:
        """Serve until cancelled, then hand the lamps over if there is time for it."""
        work = asyncio.create_task(
            run_together(
                {
                    "follow the feed": self._follower.follow_feed(),
                    "follow the registry": self._follower.follow_registry(),
                    "tell who is there": self._attendance.run(self._hub),
                    "tell what devices report": self._reports.run(),
                    "serve updates": self._updates.run(),
                    "tell what devices measure": self._gathering.run(),
                    "tell who listens": self._gathering.run_telling(),
                    "store pictures": self._pictures.run(),
                    "tell who is gone": self._absences.run(),
                    "serve": self._serve(started),
                    "keep house": self._keep_house(),
                }
            ),
            name="gateway",
        )
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            if self._settings.drain_ms and not work.done():
                await self._hand_over()
            raise
        finally:
            work.cancel()
            await asyncio.wait([work])
            await self._leave()

    async def _hand_over(self) -> None:
        """Take no more lamps, and send away who is here a few at a time, to come back to another gateway at once."""
        for server in self._servers:
            server.close()
        logger.info("the gateway hands over %d lamps", len(self._hub.sessions))
        until_s = self._hub.clock() + self._settings.drain_ms / 1_000
        while self._hub.hand_over(until_s):
            if self._hub.clock() >= until_s:
                break
            await asyncio.sleep(SLICE_S)

    async def _serve(self, started: Callable[[int], None] | None) -> None:
        """Listen as soon as there is something to tell, and say each second that this gateway lives."""
        await self._follower.ready.wait()
        admission = self._admission
        self._servers = await listen(self._settings, partial(Connection, admission), admission.may_come, admission.cut)
        try:
            port = port_of(self._servers)
            logger.info("the gateway listens on %s, port %d", self._settings.host, port)
            if started is not None:
                started(port)
            await self._beat(port)
        finally:
            for server in self._servers:
                server.close()

    async def _keep_house(self) -> None:
        """Look at the clock for everybody."""
        garbage = Garbage()
        tick_s = min(TICK_MS, self._settings.watchdog_ms / TICKS_A_WATCHDOG) / 1_000
        while True:
            await asyncio.sleep(tick_s)
            now_s = self._hub.clock()
            self._hub.tick(now_s)
            self._admission.tick(now_s)
            self._commands.tick(now_s)
            self._viewers.tick(now_s)
            self._hub_viewers.tick(now_s)
            self._admission.relay.tick(now_s)
            self._follower.expire(now_s)
            garbage.sweep(self._hub.gone, len(self._hub.sessions), self._admission.come)

    async def _beat(self, port: int) -> None:
        """Say each second that this gateway lives."""
        while True:
            info = {
                "host": self._settings.host,
                "port": port,
                "lamps": len(self._hub.sessions),
                "viewers": len(self._viewers),
                "refused": self._admission.refused,
                "hub_viewers": len(self._hub_viewers),
                "relay_clients": len(self._admission.relay),
            }
            try:
                await workers.beat(self._store, ROLE, self._settings.name, info)
            except StoreUnavailableError as exc:
                logger.debug("Redis cannot be told that the gateway lives: %s", exc)
            await asyncio.sleep(BEAT_S)

    async def _leave(self) -> None:
        """Send everybody away, with a time to come back, and tell Redis."""
        logger.info("the gateway stops; %d lamps are told to come back", len(self._hub.sessions))
        self._hub.close()
        self._viewers.close(RETRY_FROM_MS)
        self._hub_viewers.close(RETRY_FROM_MS)
        self._admission.relay.close(RETRY_FROM_MS)
        await self._admission.close(RETRY_FROM_MS, LEAVE_S)
        try:
            async with asyncio.timeout(TELL_S):
                await self._attendance.flush()
                await workers.leave(self._store, ROLE, self._settings.name)
                await self._gathering.flush()
        except (StoreError, TimeoutError) as exc:
            # Whoever asks knows it anyway, as soon as the keys that expire have expired.
            logger.debug("Redis could not be told that the gateway stops: %s", exc)

    def _absent(self, device_id: str, info: PresenceInfo) -> None:
        """Tell viewers who is there as it was found, and not as an event has told."""
        reason = info.reason.value if info.reason else ""
        self._viewers.presence(device_id, info.presence.value, reason, info.seen_ms or 0)

    def _level_of(self, group: str) -> GroupLevel:
        return self._hub.board.of(group, self._hub.registry, self._hub.now_ms())


def _allow_files() -> int:
    """Let this process have as many open files as it may; return how many these are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard

"""Tells Redis what devices report: events and results of commands; never waits, never grows without end.

Numbers are many: ``gathering`` has them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from espfleet.domain.messages import LampEvent
from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.services import device_tokens
from espfleet.store import commands, events, tags
from espfleet.store.client import Store
from espfleet.store.tags import Tag

logger = logging.getLogger(__name__)

#: Kind of the events that devices send.
EVENT = "device"
#: What is kept while Redis is away; the oldest are given up first.
KEPT = 1_000
AT_ONCE = 32
RETRY_S = 0.5

Delivery = Callable[[], Awaitable[Any]]


class Reports:
    """What devices report, on its way to Redis."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: deque[Delivery] = deque(maxlen=KEPT)
        self._lost = 0
        self._wake = asyncio.Event()

    def happened(self, device_id: str, event: LampEvent, at_ms: int) -> None:
        """A device sent an event."""
        fields = {"device": device_id, "event": event.name, "fields": dict(event.fields), "at_ms": at_ms}
        self._add(partial(events.add, self._store, EVENT, fields))

    def token_used(self, device_id: str, token_hash: str) -> None:
        """A device has come with the newest of its tokens; older ones are to end."""
        self._add(partial(device_tokens.used, self._store, device_id=device_id, token_hash=token_hash))

    def recognised(self, device_id: str, fields: Mapping[str, Any], at_ms: int) -> None:
        """A camera told what it recognised."""
        self._add(partial(tags.put, self._store, Tag(device_id, dict(fields), at_ms)))

    def answered(self, device_id: str, command_id: str, result: Mapping[str, Any]) -> None:
        """A device sent the result of a command."""
        self._add(partial(commands.answer, self._store, device_id, command_id, result))

    async def run(self) -> None:
        """Tell Redis, until cancelled."""
        away = False
        while True:
            await self._wake.wait()
            try:
                await self.flush()
            except StoreError as exc:
                if not away:
                    logger.warning("Redis cannot be told what devices report: %s", exc)
                away = True
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            else:
                if away:
                    logger.info("Redis is told again what devices report; %d reports were given up", self._lost)
                away, self._lost = False, 0

    async def flush(self) -> None:
        """Tell Redis what there is.

        Raises:
            StoreError: If it cannot be told; unless Redis refuses it, it is kept.
        """
        self._wake.clear()
        while self._waiting:
            some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
            outcomes = await asyncio.gather(*(report() for report in some), return_exceptions=True)
            for report, outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, StoreUnavailableError):
                    self._add(report)
                else:
                    self._lost += isinstance(outcome, StoreError)
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failures:
                raise failures[0]

    def _add(self, report: Delivery) -> None:
        if len(self._waiting) == KEPT:
            self._lost += 1
        self._waiting.append(report)
        self._wake.set()

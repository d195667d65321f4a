"""Tells Redis what devices report: readings, events, and results of commands; never waits, never grows without end."""

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
from espfleet.store import commands, events, readings, tags
from espfleet.store.client import Store
from espfleet.store.readings import Report
from espfleet.store.tags import Tag

logger = logging.getLogger(__name__)

#: Kind of the events that devices send.
EVENT = "device"
#: What is kept while Redis is away; the oldest are given up first.
KEPT = 1_000
AT_ONCE = 32
RETRY_S = 0.5
#: Those who listen hear readings so often: of each device the newest, many devices together.
TELL_S = 1.0

Delivery = Callable[[], Awaitable[Any]]


class Reports:
    """What devices report, on its way to Redis."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._readings: dict[str, tuple[dict[str, float], int]] = {}
        self._others: deque[Delivery] = deque(maxlen=KEPT)
        self._news: dict[str, Report] = {}
        self._lost = 0
        self._wake = asyncio.Event()

    def read(self, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
        """A device sent readings; of each name only the newest is kept."""
        known, _ = self._readings.get(device_id, ({}, 0))
        self._readings[device_id] = {**known, **values}, at_ms
        told = self._news.get(device_id)
        self._news[device_id] = Report({**(told.values if told else {}), **values}, at_ms)
        self._wake.set()

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

    async def run_telling(self) -> None:
        """Tell readings to those who listen, until cancelled; while Redis is away nobody hears them."""
        while True:
            await asyncio.sleep(TELL_S)
            news, self._news = self._news, {}
            try:
                await readings.tell(self._store, news)
            except StoreError as exc:
                logger.debug("readings of %d devices are told to nobody: %s", len(news), exc)

    async def flush(self) -> None:
        """Tell Redis what there is.

        Raises:
            StoreError: If it cannot be told; unless Redis refuses it, it is kept.
        """
        self._wake.clear()
        while self._others or self._readings:
            others = [self._others.popleft() for _ in range(min(AT_ONCE, len(self._others)))]
            read = {device_id: self._readings.pop(device_id) for device_id in list(self._readings)[:AT_ONCE]}
            outcomes = await asyncio.gather(
                *(report() for report in others),
                *(readings.put(self._store, device_id, *values) for device_id, values in read.items()),
                return_exceptions=True,
            )
            sources: list[Delivery | str] = [*others, *read]
            for told, outcome in zip(sources, outcomes, strict=True):
                if isinstance(outcome, StoreUnavailableError):
                    self._keep(told, read)
                else:
                    self._lost += isinstance(outcome, StoreError)
            failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
            if failures:
                raise failures[0]

    def _keep(self, told: Delivery | str, read: Mapping[str, tuple[dict[str, float], int]]) -> None:
        """Keep a report, or the readings of a device, for the next time."""
        if not isinstance(told, str):
            self._add(told)
            return
        values, at_ms = read[told]
        newer, newer_ms = self._readings.get(told, ({}, at_ms))
        self._readings[told] = {**values, **newer}, newer_ms

    def _add(self, report: Delivery) -> None:
        if len(self._others) == KEPT:
            self._lost += 1
        self._others.append(report)
        self._wake.set()

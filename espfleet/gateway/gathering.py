"""Gathers the numbers that devices report, and tells Redis those of many devices together; never waits.

Told one by one they cost four times as much, here and in Redis.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.store import readings
from espfleet.store.client import Store
from espfleet.store.readings import MAX_NAMES, Report

logger = logging.getLogger(__name__)

#: How long numbers wait for those of other devices.
GATHER_S = 0.25
#: Devices that are told about together: half a millisecond of work, here and in Redis.
AT_ONCE = 64
RETRY_S = 0.5
#: Those who listen hear readings so often: of each device the newest, many devices together.
TELL_S = 1.0


class Gathering:
    """Numbers of devices, on their way to Redis: of each device and name the newest."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, Report] = {}
        self._news: dict[str, Report] = {}
        self._refused = 0
        self._wake = asyncio.Event()

    def read(self, device_id: str, values: Mapping[str, float], at_ms: int) -> None:
        """A device sent readings; of each name only the newest is kept."""
        report = Report(values, at_ms)
        older = self._waiting.get(device_id)
        self._waiting[device_id] = report if older is None else _joined(older, report)
        self._wake.set()

    async def run(self) -> None:
        """Tell Redis, until cancelled."""
        away = False
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            try:
                await self.flush()
            except StoreError as exc:
                if not away:
                    logger.warning("Redis cannot be told the readings of devices: %s", exc)
                away = True
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            else:
                if away:
                    logger.info("Redis is told the readings of devices again; %d reports were refused", self._refused)
                away, self._refused = False, 0

    async def flush(self) -> None:
        """Tell Redis what there is.

        Raises:
            StoreError: If some of it cannot be told; unless Redis refuses it, it is kept.
        """
        self._wake.clear()
        waiting, self._waiting = self._waiting, {}
        try:
            # One server of several may be away, and a busy loop is long in coming back with an answer.
            outcomes = await asyncio.gather(
                *(self._tell(part, waiting) for part in readings.partitioned(self._store, waiting)),
                return_exceptions=True,
            )
        finally:
            for device_id, report in waiting.items():
                newer = self._waiting.get(device_id)
                self._waiting[device_id] = report if newer is None else _joined(report, newer)
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def _tell(self, reports: Mapping[str, Report], waiting: dict[str, Report]) -> None:
        """Tell what devices of one partition reported, and take what Redis knows then out of what waits."""
        refused: StoreError | None = None
        for some in readings.some(reports, AT_ONCE):
            try:
                await readings.put_all(self._store, some)
            except StoreUnavailableError:
                raise
            except StoreError as exc:
                refused = exc
                self._refused += len(some)
            for device_id, report in some.items():
                del waiting[device_id]
                older = self._news.get(device_id)
                self._news[device_id] = report if older is None else _joined(older, report)
        if refused is not None:
            raise refused

    async def run_telling(self) -> None:
        """Tell readings to those who listen, until cancelled; while Redis is away nobody hears them."""
        while True:
            await asyncio.sleep(TELL_S)
            news, self._news = self._news, {}
            try:
                await readings.tell(self._store, news)
            except StoreError as exc:
                logger.debug("readings of %d devices are told to nobody: %s", len(news), exc)


def _joined(older: Report, newer: Report) -> Report:
    """Return of each name the newest; further names than are kept of a device are left out."""
    values = {**older.values, **newer.values}
    if len(values) > MAX_NAMES:
        values = dict(list(values.items())[:MAX_NAMES])
    return Report(values, newer.at_ms)

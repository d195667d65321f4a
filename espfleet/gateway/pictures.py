"""Pictures on their way to Redis: of each camera the newest, one write at a time; nobody waits for it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from itertools import islice

from espfleet.domain.video import Arrival
from espfleet.errors import StoreError, StoreUnavailableError
from espfleet.store import pictures
from espfleet.store.client import Store

logger = logging.getLogger(__name__)

#: Cameras whose pictures are written together.
AT_ONCE = 16
RETRY_S = 0.5


@dataclass(slots=True)
class Waiting:
    """The newest picture of a camera, when it came, and how many it has replaced since the last that was stored."""

    data: bytes
    came_s: float
    dropped: int = 0


class Pictures:
    """Pictures that Redis does not have yet; at most one of each camera.

    Args:
        store: Where the fleet is kept.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[str, Waiting] = {}
        self._wake = asyncio.Event()

    def take(self, device_id: str, data: bytes) -> None:
        """Take a picture instead of one that still waits."""
        older = self._waiting.get(device_id)
        self._waiting[device_id] = Waiting(data, self._store.now_s(), older.dropped + 1 if older else 0)
        self._wake.set()

    async def run(self) -> None:
        """Write to Redis until cancelled."""
        away = False
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._flush()
            except StoreError as exc:
                if not away:
                    logger.warning("pictures cannot be stored: %s", exc)
                away = True
                await asyncio.sleep(RETRY_S)
                self._wake.set()
            else:
                if away:
                    logger.info("pictures are stored again")
                away = False

    async def _flush(self) -> None:
        while self._waiting:
            some = {one: self._waiting.pop(one) for one in list(islice(self._waiting, AT_ONCE))}
            told = await asyncio.gather(*(self._put(*item) for item in some.items()), return_exceptions=True)
            failures = [failure for failure in told if failure is not None]
            if failures:
                raise failures[0]

    async def _put(self, device_id: str, picture: Waiting) -> None:
        arrival = Arrival(picture.came_s, len(picture.data), max((self._store.now_s() - picture.came_s) * 1_000, 0.0))
        try:
            await pictures.put(self._store, device_id, picture.data, arrival, picture.dropped)
        except StoreUnavailableError:
            newer = self._waiting.get(device_id)
            if newer is None:
                self._waiting[device_id] = picture
            else:
                newer.dropped += picture.dropped + 1
            raise

"""Keeping the embedded Redis server alive for as long as one of its users runs."""

from __future__ import annotations

import asyncio
import logging

from espfleet.errors import StoreError
from espfleet.settings import Settings
from espfleet.store.embedded import revive

logger = logging.getLogger(__name__)

#: A killed embedded server is noticed and started again within this time.
REVIVE_S = 0.5


async def keep_server(given: Settings) -> None:
    """Start the embedded server again whenever it has died."""
    while True:
        await asyncio.sleep(REVIVE_S)
        try:
            await asyncio.to_thread(revive, given.data)
        except StoreError as exc:
            logger.error("%s", exc)
        except OSError as exc:
            # No file is left to ask with: that says nothing of the server, and is no reason to end.
            logger.error("whether the embedded server lives cannot be asked: %s", exc.strerror)

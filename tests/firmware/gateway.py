"""A gateway in a process of its own, so that a test can freeze and kill it.

``python -m tests.firmware.gateway REDIS_URL PORT`` prints the port when it is ready.
"""

from __future__ import annotations

import asyncio
import sys

from espfleet.gateway import levels
from espfleet.gateway.server import GatewaySettings, run_gateway
from espfleet.store.client import open_store


async def main(redis_url: str, port: int) -> None:
    """Serve until killed."""
    # Nobody waits in vain for a shard that a busy machine keeps from beating.
    levels.FRESH_S = 60.0
    async with open_store(redis_url, name="gateway") as store:
        await run_gateway(store, GatewaySettings(port=port), ready)


def ready(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))

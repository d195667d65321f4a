"""Commands to devices: told to the gateways, answered through a list that expires."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from typing import Any

from espfleet.domain.shards import shard_of
from espfleet.store.client import MAX_BLOCK_MS, Store

#: How long an answer waits for the one who asked.
RESULT_TTL_MS = 30_000
DEFAULT_TIMEOUT_MS = 5_000


async def send(
    store: Store, device_id: str, command: Mapping[str, Any], timeout_ms: int = DEFAULT_TIMEOUT_MS
) -> dict[str, Any] | None:
    """Send a command to a device and wait for its answer.

    Args:
        store: Where the fleet is kept.
        device_id: Which device.
        command: ``action`` and its arguments; an ``id`` is added unless it has one.
        timeout_ms: How long to wait, 1 to 30,000 ms.

    Returns:
        The answer; ``None`` if none came in time, or no gateway is there to pass the command on.
    """
    part = shard_of(device_id, store.shards)
    command = {"id": secrets.token_hex(6), **command}
    told = json.dumps({"device": device_id, "command": command}, separators=(",", ":"))
    end_s = time.monotonic() + timeout_ms / 1_000
    gateways = await store.do("SPUBLISH", store.keys.commands_channel(part), told)
    if not gateways:
        return None
    key = store.keys.result(part, command["id"])
    while (left_s := end_s - time.monotonic()) > 0:
        answer = await store.wait("BLPOP", key, min(max(left_s, 0.01), MAX_BLOCK_MS / 1_000))
        if answer is not None:
            result: dict[str, Any] = json.loads(answer[1])
            return result
    return None


async def answer(store: Store, device_id: str, command_id: str, result: Mapping[str, Any]) -> None:
    """Hand a device's answer to the one who waits for it."""
    key = store.keys.result(shard_of(device_id, store.shards), command_id)
    text = json.dumps(result, separators=(",", ":"))
    await store.do_all([("RPUSH", key, text), ("PEXPIRE", key, RESULT_TTL_MS)], atomic=True)

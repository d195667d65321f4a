"""Commands to devices and their answers."""

from __future__ import annotations

import asyncio
import time

from espfleet.domain.shards import shard_of
from espfleet.store import commands
from espfleet.store.client import Store
from espfleet.store.feed import CommandSent, Feed, Topic

ID = "3c71bff93720"


async def test_an_answer_reaches_the_one_who_asked(store: Store) -> None:
    async with Feed(store, [Topic.COMMANDS]) as feed:
        await anext(feed)
        first, second = (
            asyncio.create_task(commands.send(store, ID, {"action": "gpio", "pin": pin})) for pin in (1, 2)
        )
        for _ in range(2):
            told = await anext(feed)
            assert isinstance(told, CommandSent)
            await commands.answer(store, told.device_id, told.command["id"], {"ok": True, "pin": told.command["pin"]})
        assert await first == {"ok": True, "pin": 1}
        assert await second == {"ok": True, "pin": 2}


async def test_without_a_gateway_there_is_no_waiting(store: Store) -> None:
    begin = time.monotonic()
    assert await commands.send(store, ID, {"action": "identify"}, timeout_ms=30_000) is None
    assert time.monotonic() - begin < 15.0


async def test_a_device_that_does_not_answer_is_waited_for_only_so_long(store: Store) -> None:
    async with Feed(store, [Topic.COMMANDS]) as feed:
        await anext(feed)
        begin = time.monotonic()
        assert await commands.send(store, ID, {"action": "identify"}, timeout_ms=100) is None
        assert 0.09 < time.monotonic() - begin < 15.0


async def test_an_answer_nobody_waits_for_goes_away(store: Store) -> None:
    await commands.answer(store, ID, "c1", {"ok": True})
    key = store.keys.result(shard_of(ID, store.shards), "c1")
    assert 29_000 < await store.redis.pttl(key) <= 30_000

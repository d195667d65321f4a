"""Samples that were cut off a stream before anybody read them are counted, told once, and shown by ``doctor``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest

from espfleet.cli.main import run
from espfleet.services import figures
from espfleet.store import samples, workers
from espfleet.store.client import Store
from espfleet.store.samples import Entry, ShardReader
from espfleet.workers.leveler import Leveler
from tests.conftest import wait_until

SHARD = 3
WRITTEN = 50


async def write(store: Store, *numbers: int) -> None:
    entries = [Entry(SHARD, "prober-1", number, "0f", b"") for number in numbers]
    await samples.append(store, entries, 100_000)


async def cut(store: Store, left: int) -> None:
    await store.redis.xtrim(store.keys.samples(SHARD), maxlen=left, approximate=False)


async def gaps(store: Store) -> int:
    return sum(int(info["gaps"]) for info in (await workers.alive(store, "leveler")).values())


async def test_a_leveler_counts_what_it_never_got_and_doctor_says_so(
    store: Store, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await samples.init_consumers(store)
    reader = ShardReader(store, SHARD, "one that died")
    await write(store, 0)
    assert [entry.seq for entry in await reader.read(100, 10)] == [0]
    await write(store, *range(1, WRITTEN))
    await cut(store, 20)
    working = asyncio.create_task(Leveler(store, "leveler-1").run())
    try:
        # The one that was read and never acknowledged is gone too.
        await wait_until(lambda: _all_read(store))

        async def counted() -> bool:
            # It tells its figures each second.
            return await gaps(store) == WRITTEN - 20

        await wait_until(counted)
        found = await figures.collect(store, now_ms=1)
        assert [point.value for point in found if point.name == "espfleet.leveler.gaps"] == [WRITTEN - 20]
        monkeypatch.setenv("REDIS_URL", redis_url)
        monkeypatch.setenv("ESPFLEET_HOME", str(tmp_path))
        await asyncio.to_thread(run, ["doctor", "--json"])
        assert f"{WRITTEN - 20} entries of samples cut off before they were read" in capsys.readouterr().out
    finally:
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working


async def _all_read(store: Store) -> bool:
    (group,) = await store.redis.xinfo_groups(store.keys.samples(SHARD))
    return (
        int(group["pending"]) == 0
        and group["last-delivered-id"]
        == (await store.redis.xinfo_stream(store.keys.samples(SHARD)))["last-generated-id"]
    )


async def test_the_log_says_so_once_a_shard_and_the_count_goes_on(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    await samples.init_consumers(store)
    reader = ShardReader(store, SHARD, "slow")
    await write(store, 0)
    await reader.read(100, 1)
    with caplog.at_level(logging.WARNING):
        for round_ in range(1, 4):
            await write(store, *range(10 * round_, 10 * round_ + 10))
            await cut(store, 4)
            got = await reader.read(100, 4)
            assert [entry.seq % 10 for entry in got] == [6, 7, 8, 9]
    assert reader.gaps == 18
    assert len([record for record in caplog.records if "were cut off" in record.message]) == 1

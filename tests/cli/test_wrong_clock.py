"""A laptop whose clock is wrong shows the same ages as any other: they go by the clock of Redis."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterator

import numpy as np
import pytest

from espfleet.cli import output
from espfleet.domain.points import Point
from espfleet.domain.samples import Batch, Layout, pack
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.services import tokens
from espfleet.store import levels, points, presence, readings, samples
from espfleet.store.client import Store, open_store
from espfleet.store.leases import Lease
from tests.cli.conftest import Type

HOUR_S = 3_600
LAMP = "3c71bff93720"
#: So old is what the fleet knows: far from where the words for it change.
OLD_MS = 40_000


@pytest.fixture(params=[0, HOUR_S, -HOUR_S], ids=["right", "an hour ahead", "an hour behind"])
def wrong_by_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Let the clock of this process be wrong; that of Redis is right."""
    right_s, right_ns = time.time, time.time_ns
    with monkeypatch.context() as wrong:
        wrong.setattr(time, "time", lambda: right_s() + request.param)
        wrong.setattr(time, "time_ns", lambda: right_ns() + request.param * 1_000_000_000)
        yield int(request.param)


async def live_fleet(store: Store) -> None:
    """Let a lamp be there for a while, show a level, and have reported; let its target be measured."""
    now_ms = await store.time_ms()
    session = presence.Session(session_id="s", gateway="g", watchdog_ms=HOUR_S * 1_000)
    await presence.came(store, LAMP, session)
    due = store.keys.due(shard_of(LAMP, store.shards))
    await store.redis.zadd(due, {LAMP: now_ms - OLD_MS + session.watchdog_ms})
    await tokens.add(store, name="wall", role="viewer", now_ms=now_ms - OLD_MS)
    await readings.put(store, LAMP, {"temperature_c": 21.5}, now_ms - OLD_MS)
    shard = shard_of("default", store.shards)
    lease = await Lease.take(store, f"s{shard}", "one", 60_000)
    assert lease is not None
    level = GroupLevel(group="default", level=7, state=State.OK, at_ms=now_ms - OLD_MS, reason="calm")
    await levels.publish(store, shard, lease.fence, [level], now_ms)
    layout = Layout(1_000, 1_000, ("router",))
    await samples.put_layout(store, shard, layout)
    for age_s in range(10, 0, -1):
        blob = pack(Batch(np.zeros(1, np.int32), np.full(1, 9_000.0, np.float32), (now_ms - age_s * 1_000) * 10**6, 0))
        words = ("w", "prober", "q", 11 - age_s, "l", layout.layout_id, "b", blob)
        await store.do("XADD", store.keys.samples(shard), f"{now_ms - age_s * 1_000}-0", *words)
    await points.append(store, [Point("m", 1.0, now_ms // 1_000)])


def seconds(text: str) -> list[int]:
    """Return the ages that a page tells in seconds; there must be no others."""
    assert not re.search(r"\d (min|h|d)\b", text), text
    return [int(found) for found in re.findall(r"\b(\d+) s\b", text)]


def test_every_age_is_told_by_the_clock_of_redis(
    type_: Type, redis_url: str, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert type_("target", "router", "add", "127.0.0.1").code == 0
    assert type_("register", "192.0.2.7", "porch", "--id", LAMP).code == 0

    async def filled() -> int:
        async with open_store(redis_url, name="test") as store:
            await live_fleet(store)
            return await store.time_ms()

    made_ms = asyncio.run(filled())
    assert abs(type_("metrics").json[-1]["at_s"] - made_ms / 1_000) < 600
    assert 0 <= type_("xinfo").json["lag_ms"] < 600_000
    watched = [row for row in type_("watch", "--seconds", "1").out.splitlines() if '"device"' in row]
    assert watched
    monkeypatch.setattr(output, "for_programs", lambda: False)
    # A machine of the tests may be a minute slow.
    for words, ages in (
        (("devices",), [OLD_MS // 1_000]),
        (("device", "porch"), [OLD_MS // 1_000, 0]),
        (("levels",), [OLD_MS // 1_000]),
        (("device", "porch", "readings"), [OLD_MS // 1_000]),
        (("device", "porch", "get_f"), [OLD_MS // 1_000]),
        (("tokens",), [OLD_MS // 1_000]),
        (("why", "router"), [1]),
    ):
        shown = type_(*words)
        assert shown.code == 0, shown.err
        told = seconds(shown.out)
        assert len(told) == len(ages), shown.out
        assert all(0 <= one - age < 60 for one, age in zip(told, ages, strict=True)), (words, shown.out)

"""A web server whose clock is wrong tells the same times and ages as any other: all go by the clock of Redis."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
import requests

from espfleet.services import devices, tokens
from espfleet.store import readings
from espfleet.store.client import Store, open_store
from tests.web.serving import serving

LAMP = "3c71bff93720"


def beaten(url: str, token: str) -> int:
    """Return the time of the next beat of the live feed, ms since the epoch."""
    headers = {"Authorization": f"Bearer {token}"}
    with requests.get(f"{url}/api/live", headers=headers, stream=True, timeout=30) as feed:
        kind = ""
        for line in feed.iter_lines(decode_unicode=True):
            name, _, value = line.partition(": ")
            kind = value if name == "event" else kind
            if name == "data" and kind == "beat":
                return int(json.loads(value)["at_ms"])
    raise AssertionError("the feed ended without a beat")


@pytest.mark.parametrize("wrong_by_s", [-3_600, 3_600])
async def test_the_web_goes_by_the_clock_of_redis_whatever_its_own_shows(
    store: Store, monkeypatch: pytest.MonkeyPatch, wrong_by_s: int
) -> None:
    right_s, right_ns = time.time, time.time_ns
    began_ms = await store.time_ms()
    await devices.register(store, device_id=LAMP, name="porch", now_ms=began_ms)
    await readings.put(store, LAMP, {"temperature_c": 21.5}, began_ms)
    ended = await tokens.add(store, name="wall", role="viewer", now_ms=began_ms - 120_000)
    await tokens.rotate(store, name="wall", now_ms=began_ms - 60_000, keep_s=30)
    kept = await tokens.add(store, name="desk", role="viewer", now_ms=began_ms)
    await tokens.rotate(store, name="desk", now_ms=began_ms, keep_s=1_800)
    monkeypatch.setattr(time, "time", lambda: right_s() + wrong_by_s)
    monkeypatch.setattr(time, "time_ns", lambda: right_ns() + wrong_by_s * 1_000_000_000)
    async with open_store(store.url, name="web") as opened, serving(opened) as web:
        web.headers["Authorization"] = f"Bearer {kept}"
        told = [(await web.get("/api/wall"))["at_ms"]]
        told.append(await asyncio.to_thread(beaten, web.url, kept))
        now_ms = await store.time_ms()
        assert all(began_ms - 60_000 < one < now_ms + 60_000 for one in told), (began_ms, told, now_ms)
        # What a reading was lately is asked for by its time.
        past = await web.get("/api/devices/porch/readings/temperature_c?seconds=300")
        assert past["value"] == [21.5]
        # A token ends when it ends.
        web.headers["Authorization"] = f"Bearer {ended}"
        assert (await web.send("GET", "/api/wall")).status_code == 401

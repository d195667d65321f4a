"""Who looks at the dashboard is told that lamps are gone also while no steward sweeps."""

from __future__ import annotations

import asyncio
import json

from espfleet.store import events, presence
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.web.absences import Absences
from espfleet.web.live import Live
from tests.conftest import wait_until

ID, OTHER = "3c71bff93720", "3c71bff93721"


async def gone(store: Store) -> None:
    """Wait until the time of the one device has run out."""

    async def overdue() -> bool:
        return await presence.overdue(store) == [ID]

    await wait_until(overdue)


def told(chunk: bytes) -> list[dict[str, object]]:
    """Return what was told of presence."""
    blocks = [
        dict(line.split(": ", 1) for line in block.splitlines()) for block in chunk.decode().strip().split("\n\n")
    ]
    return [json.loads(block["data"]) for block in blocks if block["event"] == "presence"]


async def test_a_lamp_of_a_dead_gateway_is_told_to_readers_without_a_steward_and_once(store: Store) -> None:
    live = Live(store, lambda: 1)
    feed = live.read()
    await anext(feed)
    await presence.came(store, ID, Session(session_id="1", gateway="g1", watchdog_ms=200))
    await presence.came(store, OTHER, Session(session_id="2", gateway="g2", watchdog_ms=3_600_000))
    reading = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await gone(store)
    absences = Absences(store, live)
    await absences.look()
    # A steward may be about to say so.
    assert not reading.done()
    for _ in range(3):
        await absences.look()
    [one] = told(await reading)
    assert (one["device"], one["presence"], one["reason"], one["gateway"]) == (ID, "offline", "gateway gone", "g1")
    # Nothing is recorded, so the steward that comes later finds and tells it.
    assert [event.fields["presence"] for event in await events.latest(store, 10)] == ["live", "live"]
    assert [one.device_id for one in await presence.sweep(store)] == [ID]
    await feed.aclose()


async def test_a_lamp_that_a_steward_finds_is_told_by_it_alone(store: Store) -> None:
    live = Live(store, lambda: 1)
    feed = live.read()
    await anext(feed)
    reading = asyncio.ensure_future(anext(feed))
    await asyncio.sleep(0)
    await presence.came(store, ID, Session(session_id="1", gateway="g1", watchdog_ms=200))
    await gone(store)
    absences = Absences(store, live)
    await absences.look()
    await presence.sweep(store)
    for _ in range(3):
        await absences.look()
    assert not reading.done()
    live.tell("beat", {})
    assert told(await reading) == []
    await feed.aclose()

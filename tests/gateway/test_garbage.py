"""What lamps that have gone leave behind does not stay for good."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Iterator

import pytest

from espfleet.gateway import garbage
from espfleet.gateway.connection import Connection
from espfleet.gateway.garbage import GONE, GONE_SHARE, Garbage, long_lived_objects
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start, lamp_of

FEW = 5


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Let nobody collect but who says so."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
async def test_nothing_stays_of_lamps_that_have_gone(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "GONE", FEW)
    gateway = await start()
    device, token = await fleet.add("porch")
    left: list[weakref.ref[asyncio.BaseTransport]] = []
    made = Connection.connection_made

    def note(connection: Connection, transport: asyncio.BaseTransport) -> None:
        left.append(weakref.ref(transport))
        made(connection, transport)

    monkeypatch.setattr(Connection, "connection_made", note)
    for _ in range(FEW):
        async with lamp_of(gateway, device, token) as lamp:
            await lamp.receive()
    assert len(left) == FEW
    # One may still have been in somebody's hands.
    await wait_until(lambda: sum(one() is not None for one in left) <= 1)


def test_the_collector_looks_when_enough_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(None))
    swept = Garbage()
    assert not swept.sweep(GONE - 1, 0)
    assert swept.sweep(GONE, 0)
    assert not swept.sweep(2 * GONE - 1, 0)
    many = 10 * GONE
    assert not swept.sweep(GONE + many // GONE_SHARE - 1, many)
    assert swept.sweep(GONE + many // GONE_SHARE, many)
    assert len(looks) == 2


def test_a_process_that_keeps_its_own_house_is_left_alone() -> None:
    # The tests have frozen what they loaded.
    before = gc.get_threshold(), gc.get_freeze_count()
    assert before[1]
    with long_lived_objects():
        assert (gc.get_threshold(), gc.get_freeze_count()) == before

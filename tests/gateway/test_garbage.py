"""What lamps that have gone leave behind does not stay for good."""

from __future__ import annotations

import asyncio
import gc
import ssl
import weakref
from asyncio.sslproto import SSLProtocol
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from espfleet.gateway import garbage
from espfleet.gateway.connection import Connection
from espfleet.gateway.garbage import COME, COME_TIMES, GONE, GONE_SHARE, Garbage, long_lived_objects
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Start, lamp_of
from tests.gateway.raw import raw

FEW = 5


def more_than(many: list[Any], number: int) -> bool:
    return len(many) > number


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


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("is_tls", [False, True], ids=["plain", "over TLS"])
async def test_nothing_stays_of_those_who_never_said_who_they_are(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch, is_tls: bool
) -> None:
    monkeypatch.setattr(garbage, "COME", FEW)
    left: list[weakref.ref[asyncio.BaseTransport]] = []
    kind: Any = SSLProtocol if is_tls else Connection
    made = kind.connection_made

    def note(protocol: asyncio.Protocol, transport: asyncio.BaseTransport) -> None:
        left.append(weakref.ref(transport))
        made(protocol, transport)

    monkeypatch.setattr(kind, "connection_made", note)
    gateway = await start(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if is_tls else None)
    for _ in range(FEW):
        async with raw(gateway.port) as link:
            # What is a handshake of TLS to no one, and no request either; more is not waited for.
            await link.write(b"\x16" * 8 + b"\r\n\r\n")
            await link.reader.read()
    await wait_until(lambda: len(left) == FEW)
    await wait_until(lambda: sum(one() is not None for one in left) <= 1)


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("begin", [b"\x16" * 8, b"\x16\x03\x01\x02\x00\x01"], ids=["wrong", "half"])
async def test_a_tls_handshake_that_fails_is_freed_without_the_collector(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch, begin: bytes
) -> None:
    left: list[weakref.ref[SSLProtocol]] = []
    made = SSLProtocol.connection_made

    def note(protocol: SSLProtocol, transport: asyncio.BaseTransport) -> None:
        left.append(weakref.ref(protocol))
        made(protocol, transport)

    monkeypatch.setattr(SSLProtocol, "connection_made", note)
    gateway = await start(tls=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    for number in range(FEW):
        async with raw(gateway.port) as link:
            await link.write(begin)
            await wait_until(partial(more_than, left, number))
    await wait_until(lambda: sum(one() is not None for one in left) <= 1)


def test_the_collector_looks_when_enough_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[None] = []
    monkeypatch.setattr(gc, "collect", lambda: looks.append(None))
    swept = Garbage()
    assert not swept.sweep(GONE - 1, 0, 0)
    assert swept.sweep(GONE, 0, 0)
    assert not swept.sweep(2 * GONE - 1, 0, 0)
    many = 10 * GONE
    assert not swept.sweep(GONE + many // GONE_SHARE - 1, many, 0)
    assert swept.sweep(GONE + many // GONE_SHARE, many, 0)
    assert len(looks) == 2


def test_the_collector_looks_when_enough_have_come_who_were_no_lamps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "collect", lambda: None)
    swept = Garbage()
    assert not swept.sweep(0, 0, COME - 1)
    assert swept.sweep(0, 0, COME)
    assert not swept.sweep(0, 0, 2 * COME - 1)
    # A storm of lamps that return is no reason.
    assert not swept.sweep(0, COME, 2 * COME)
    assert swept.sweep(0, COME, COME + COME_TIMES * COME)


def test_a_process_that_keeps_its_own_house_is_left_alone() -> None:
    # The tests have frozen what they loaded.
    # What is called so here has been counted once for all tests.
    frozen: Callable[[], int] = gc.get_freeze_count.__wrapped__  # type: ignore[attr-defined]
    before = gc.get_threshold(), frozen()
    assert before[1]
    with long_lived_objects():
        assert (gc.get_threshold(), frozen()) == before

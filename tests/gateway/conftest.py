"""A gateway on a fleet of its own, with somebody who publishes levels, and clients of every sort."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from espfleet.domain.devices import Device, Dialect, Kind
from espfleet.domain.groups import Group
from espfleet.domain.registry import Registry
from espfleet.domain.rooms import Room
from espfleet.domain.shards import shard_of
from espfleet.domain.states import GroupLevel, State
from espfleet.domain.tokens import hash_token, new_token
from espfleet.errors import StartError
from espfleet.gateway.server import GatewaySettings, Limits, run_gateway
from espfleet.store import levels, registry
from espfleet.store.client import Store
from espfleet.store.leases import Lease
from espfleet.store.registry import Change
from tests.gateway.raw import PATIENCE_S

#: Short times for tests that wait for the watchdog: late after 200 ms, offline after 300, closed after 3,000.
QUICK = {"watchdog_ms": 300, "period_ms": 100, "lease_ms": 300, "keepalive_ms": 50}
#: Late for a whole second before it is offline, so that a busy machine sees it too.
SEEN_LATE = {**QUICK, "watchdog_ms": 3_000}
#: Late after 600 ms, for tests that do not mind if it is offline by the time they look; closed after 9 s.
SOON_LATE = {**QUICK, "watchdog_ms": 900}
#: A lamp that says nothing, and a shard that a busy machine keeps from beating, last longer than any test waits.
PATIENT_MS = 60_000
#: As for users.
USUAL = {"watchdog_ms": 3_000}


class Fleet:
    """What the user has set up, and a leveler that says what the test wants."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.beating = set(range(store.shards))
        #: When each shard has beaten last, monotonic seconds.
        self.beaten_s: dict[int, float] = {}
        self._leases: dict[int, Lease] = {}

    async def change(self, *changes: Change) -> Registry:
        return await registry.change(self.store, lambda _: changes)

    async def set_up(self, rooms: dict[str, str | None] | None = None, groups: Iterable[str] = ("wan",)) -> None:
        """Make groups, and rooms that watch them."""
        rooms = {"hall": "wan"} if rooms is None else rooms
        await self.change(
            *(Change("groups", name, Group(name=name).to_dict()) for name in groups),
            *(Change("rooms", name, Room(name=name, group=group).to_dict()) for name, group in rooms.items()),
        )

    async def add(self, name: str, number: int = 1, room: str | None = "hall", **fields: Any) -> tuple[Device, str]:
        """Register a device; return it with its token."""
        token = new_token()
        device = Device(id=f"{number:012x}", name=name, room=room, token_hashes=(hash_token(token),), **fields)
        await self.put(device)
        return device, token

    async def add_many(self, count: int) -> list[tuple[Device, str]]:
        """Register many devices at once."""
        made = [(number, new_token()) for number in range(count)]
        devices = [
            (Device(id=f"{n:012x}", name=f"lamp-{n}", room="hall", token_hashes=(hash_token(token),)), token)
            for n, token in made
        ]
        await self.change(*(Change("devices", device.id, device.to_dict()) for device, _ in devices))
        return devices

    async def put(self, device: Device, **fields: Any) -> None:
        """Store a device, with some fields changed."""
        device = replace(device, **fields)
        await self.change(Change("devices", device.id, device.to_dict()))

    async def publish(self, level: int = 10, group: str = "wan", state: State = State.OK) -> int:
        """Publish a level as a leveler does, and return its number."""
        shard = shard_of(group, self.store.shards)
        lease = await self._lease(shard)
        new = GroupLevel(group=group, level=level, state=state, at_ms=1)
        return await levels.publish(self.store, shard, lease.fence, [new], 1)

    async def beat(self) -> None:
        """Keep the shards fresh until cancelled."""
        while True:
            # A test may take one out at any time.
            for shard in tuple(self.beating):
                lease = await self._lease(shard)
                self.beaten_s[shard] = time.monotonic()
                await levels.publish(self.store, shard, lease.fence, [], 1)
            await asyncio.sleep(0.3)

    async def _lease(self, shard: int) -> Lease:
        if shard not in self._leases:
            lease = await Lease.take(self.store, f"s{shard}", "test", 60_000)
            assert lease is not None
            self._leases[shard] = lease
        return self._leases[shard]


@pytest.fixture
async def fleet(store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """Return a fleet with the room ``hall`` that watches ``wan``, whose level is 10.

    Levels are fresh for ``FRESH_MS`` of the test's module after a beat, or for as long as any test waits.
    """
    fresh_ms = getattr(request.module, "FRESH_MS", PATIENT_MS)
    monkeypatch.setattr("espfleet.store.levels.BEAT_TTL_MS", fresh_ms)
    monkeypatch.setattr("espfleet.gateway.levels.FRESH_S", fresh_ms / 1_000)
    fleet = Fleet(store)
    await fleet.set_up()
    await fleet.publish(10)
    async with running(fleet.beat()):
        yield fleet


class Gateway:
    """A gateway that runs."""

    def __init__(self, port: int, task: asyncio.Task[None]) -> None:
        self.port = port
        self.task = task
        self.url = f"ws://127.0.0.1:{port}"

    async def stop(self) -> None:
        self.task.cancel()
        with contextlib.suppress(asyncio.CancelledError, StartError):
            await self.task


Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start(store: Store) -> AsyncIterator[Start]:
    """Return a function that starts gateways with given settings; all are stopped at the end."""
    async with AsyncExitStack() as stack:

        async def begin(limits: Limits | None = None, **settings: Any) -> Gateway:
            ready = asyncio.get_running_loop().create_future()
            usual = {"port": 0, "limits": limits or Limits(linger_ms=500), "watchdog_ms": PATIENT_MS}
            given = GatewaySettings(**{**usual, **settings})
            task = asyncio.create_task(run_gateway(store, given, ready.set_result))
            gateway = Gateway(0, task)
            stack.push_async_callback(gateway.stop)
            await asyncio.wait([ready, task], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            gateway.port = ready.result()
            gateway.url = f"ws://127.0.0.1:{gateway.port}"
            return gateway

        yield begin


@pytest.fixture
async def gateway(fleet: Fleet, start: Start) -> Gateway:
    """Return a gateway with the usual settings."""
    return await start()


@asynccontextmanager
async def running(work: Any) -> AsyncIterator[asyncio.Task[Any]]:
    """Run something beside the test."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class Lamp:
    """A client of protocol 1."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, type_: str, **fields: Any) -> None:
        await self.socket.send(json.dumps({"type": type_, **fields}))

    async def receive(self, timeout_s: float = PATIENCE_S) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(timeout_s):
            message: dict[str, Any] = json.loads(await self.socket.recv())
            return message

    async def until(self, timeout_s: float = PATIENCE_S, **fields: Any) -> dict[str, Any]:
        """Return the next message that has these fields."""
        async with asyncio.timeout(timeout_s):
            while True:
                message = await self.receive(timeout_s)
                if fields.items() <= message.items():
                    return message

    async def closed(self, timeout_s: float = PATIENCE_S) -> tuple[int, str]:
        """Return code and reason with which the gateway closes."""
        async with asyncio.timeout(timeout_s):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await self.socket.recv()
        assert self.socket.protocol.close_rcvd is not None, "the connection was cut without a close frame"
        return self.socket.protocol.close_rcvd.code, self.socket.protocol.close_rcvd.reason

    async def quiet(self, for_s: float = 0.3) -> None:
        """Read until nothing has come for a while."""
        with contextlib.suppress(TimeoutError):
            while True:
                await self.receive(for_s)

    async def keep_alive(self, every_s: float = 0.05) -> None:
        """Send keepalives until cancelled."""
        with contextlib.suppress(ConnectionClosed):
            while True:
                await self.socket.send('{"type":"keepalive"}')
                await asyncio.sleep(every_s)


@asynccontextmanager
async def dialled(gateway: Gateway, path: str = "/lamp", **options: Any) -> AsyncIterator[Lamp]:
    """Open a connection that has said nothing yet."""
    async with connect(
        gateway.url + path, proxy=None, compression=None, ping_interval=None, close_timeout=1, **options
    ) as socket:
        yield Lamp(socket)


@asynccontextmanager
async def lamp_of(gateway: Gateway, device: Device, token: str, **hello: Any) -> AsyncIterator[Lamp]:
    """Open a connection and say hello; the welcome is still to be read."""
    async with dialled(gateway) as lamp:
        await lamp.send("hello", protocol=1, id=device.id, token=token, **hello)
        yield lamp


__all__ = ["Device", "Dialect", "Fleet", "Gateway", "Kind", "Lamp", "Start", "dialled", "lamp_of", "running"]

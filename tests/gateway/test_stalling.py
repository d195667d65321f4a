"""Who stalls in a handshake holds up nobody else, with TLS and without; and a storm from one address comes in."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from espfleet.certificates.contexts import ServerSide
from espfleet.certificates.folder import Folder
from espfleet.domain.devices import Device
from espfleet.gateway.server import Limits
from espfleet.store import workers
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Start, dialled, running
from tests.gateway.raw import TEXT, Raw, frame, request

OTHER, THIRD = "127.0.0.2", "127.0.0.3"
#: Nobody is sent away within a test because its time is over.
PATIENT = Limits(linger_ms=300, handshake_ms=600_000, hello_ms=600_000)
#: The beginning of a TLS handshake, and of a request.
HALF_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
HALF_REQUEST = b"GET /lamp HTTP/1.1\r\nHost: 127."

Lamp = tuple[Device, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    made = Folder(tmp_path_factory.mktemp("certificates"), lambda: datetime.datetime.now(datetime.UTC))
    made.make(["127.0.0.1"])
    return made


@pytest.fixture
def tls(folder: Folder) -> ssl.SSLContext:
    return ServerSide(folder.server).context


@pytest.fixture
def trust(folder: Folder) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(folder.bundle))


async def stall(gateway: Gateway, stack: AsyncExitStack, said: bytes, source: str = "127.0.0.1") -> None:
    """Open a connection, say something, and stay."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=(source, 0))
    # Both are kept: one that nobody knows any more is closed.
    stack.callback(lambda: (reader, writer.transport.abort()))
    writer.write(said)


async def comes_in(gateway: Gateway, lamp: Lamp, source: str, trust: ssl.SSLContext | None) -> None:
    """See that a lamp is welcomed, long before those who stall are sent away."""
    device, token = lamp
    scheme = "ws" if trust is None else "wss"
    gateway.url = f"{scheme}://127.0.0.1:{gateway.port}"
    async with asyncio.timeout(30), dialled(gateway, ssl=trust, local_addr=(source, 0)) as link:
        await link.send("hello", protocol=1, id=device.id, token=token)
        assert (await link.receive(30))["type"] == "welcome"


async def refused(fleet: Fleet) -> int:
    return int((await workers.alive(fleet.store, "gateway"))["gateway"]["refused"])


@pytest.mark.parametrize("said", [b"", HALF_HELLO], ids=["say nothing", "begin TLS"])
async def test_a_source_that_stalls_in_all_tls_handshakes_holds_up_no_lamp_of_another(
    fleet: Fleet, start: Start, tls: ssl.SSLContext, trust: ssl.SSLContext, said: bytes
) -> None:
    gateway = await start(replace(PATIENT, handshakes=8), tls=tls)
    lamp = await fleet.add("porch")
    async with AsyncExitStack() as stack:
        for _ in range(40):
            await stall(gateway, stack, said)
        await comes_in(gateway, lamp, OTHER, trust)

        async def counted() -> bool:
            return await refused(fleet) == 1

        await wait_until(counted)
        # Its place was taken again by one that stalls, and the next lamp waits no longer for that.
        await comes_in(gateway, lamp, THIRD, trust)


async def test_nor_does_one_that_comes_again_and_again(
    fleet: Fleet, start: Start, tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    gateway = await start(replace(PATIENT, handshakes=8), tls=tls)
    lamp = await fleet.add("porch")
    async with AsyncExitStack() as stack:

        async def flood() -> None:
            while True:
                await stall(gateway, stack, HALF_HELLO)
                await asyncio.sleep(0.01)

        for _ in range(20):
            await stall(gateway, stack, HALF_HELLO)
        async with running(flood()):
            for _ in range(3):
                await comes_in(gateway, lamp, OTHER, trust)


async def test_a_source_that_stalls_in_all_requests_holds_up_no_lamp_of_another(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(PATIENT, guests=60, guests_per_source=30))
    lamp = await fleet.add("porch")
    async with AsyncExitStack() as stack:
        for _ in range(50):
            await stall(gateway, stack, HALF_REQUEST)
        await comes_in(gateway, lamp, OTHER, None)


class Storm:
    """Lamps that all come at once, and come back when they are told to.

    Attributes:
        waits_s: What they were told, whenever they were.
        cut: How often one of them was cut without a word.
    """

    def __init__(self, gateway: Gateway, trust: ssl.SSLContext) -> None:
        self.waits_s: list[int] = []
        self.cut = 0
        self._gateway = gateway
        self._trust = trust

    async def come(self, lamp: Lamp, source: str = "127.0.0.1") -> None:
        """Come until welcomed."""
        for _ in range(20):
            wait_s = 1
            try:
                async with self._dialled(source) as link:
                    await link.write(request())
                    head = await link.head(120)
                    if head.startswith("HTTP/1.1 101 "):
                        await self._say_hello(link, lamp)
                        return
                    assert head.startswith("HTTP/1.1 503 "), head
                    told = re.search(r"\r\nretry-after: (\d+)\r\n", head, re.IGNORECASE)
                    assert told is not None, head
                    wait_s = int(told[1])
                    self.waits_s.append(wait_s)
            except ConnectionError:
                self.cut += 1
            await asyncio.sleep(wait_s)
        raise AssertionError("it gave up")

    async def _say_hello(self, link: Raw, lamp: Lamp) -> None:
        device, token = lamp
        hello = {"type": "hello", "protocol": 1, "id": device.id, "token": token}
        await link.write(frame(TEXT, json.dumps(hello).encode()))
        assert json.loads((await link.frame(120)).payload)["type"] == "welcome"

    @asynccontextmanager
    async def _dialled(self, source: str) -> AsyncIterator[Raw]:
        async with asyncio.timeout(120):
            reader, writer = await asyncio.open_connection(
                "127.0.0.1", self._gateway.port, ssl=self._trust, ssl_handshake_timeout=120, local_addr=(source, 0)
            )
        try:
            yield Raw(reader, writer)
        finally:
            writer.transport.abort()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_all_of_a_storm_from_one_address_come_in_over_tls_as_they_are_told(
    fleet: Fleet, start: Start, tls: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    gateway = await start(replace(PATIENT, handshakes=32, connects_per_s=100), tls=tls)
    lamps = await fleet.add_many(500)
    storm, neighbour = Storm(gateway, trust), Storm(gateway, trust)
    coming = [asyncio.ensure_future(storm.come(lamp)) for lamp in lamps]
    await wait_until(lambda: any(one.done() for one in coming), timeout_s=60)
    # Whoever comes from elsewhere meanwhile does not wait for all of them, and hardly anybody is cut for it.
    await neighbour.come(await fleet.add("porch", 1_000), OTHER)
    assert not all(one.done() for one in coming)
    await asyncio.gather(*coming)
    assert storm.cut <= 1 + len(neighbour.waits_s)


async def test_when_it_stops_those_who_wait_are_let_go(fleet: Fleet, start: Start, tls: ssl.SSLContext) -> None:
    gateway = await start(replace(PATIENT, handshakes=2), tls=tls)
    async with AsyncExitStack() as stack:
        links = [await asyncio.open_connection("127.0.0.1", gateway.port) for _ in range(5)]
        for _, writer in links:
            stack.callback(writer.transport.abort)
        await gateway.stop()
        for reader, _ in links:
            with contextlib.suppress(ConnectionError):
                async with asyncio.timeout(60):
                    assert await reader.read() == b""

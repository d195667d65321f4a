"""The door of a gateway that speaks TLS, from a stranger's side."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import gc
import logging
import ssl
from asyncio import sslproto
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from espfleet.certificates import contexts
from espfleet.certificates.contexts import LampSide, ServerSide
from espfleet.certificates.folder import Folder
from espfleet.gateway.settings import Limits
from espfleet.tls_door import TLS_BUFFER_BYTES
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Lamp, Start, running


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path, lambda: datetime.datetime.now(datetime.UTC))
    made.make(["127.0.0.1"])
    return made


@pytest.fixture
def server(folder: Folder) -> ServerSide:
    return ServerSide(folder.server)


@asynccontextmanager
async def stranger(gateway: Gateway) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Open a TCP connection and say nothing."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def known(gateway: Gateway, folder: Folder, fleet: Fleet, number: int = 1) -> AsyncIterator[Lamp]:
    """Let a lamp come in over TLS."""
    device, token = await fleet.add(f"lamp-{number}", number)
    url = f"wss://127.0.0.1:{gateway.port}/lamp"
    trust = LampSide(folder.bundle).context
    async with connect(url, ssl=trust, proxy=None, ping_interval=None, close_timeout=1) as socket:
        lamp = Lamp(socket)
        await lamp.send("hello", protocol=1, id=device.id, token=token)
        assert (await lamp.receive())["type"] == "welcome"
        yield lamp


async def served_serial(gateway: Gateway, folder: Folder) -> str:
    """Return the number of the certificate that the gateway shows."""
    trust = LampSide(folder.bundle).context
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=trust)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return str(certificate["serialNumber"])


@pytest.mark.parametrize("said", [b"GET /lamp HTTP/1.1\r\nHost: a\r\n\r\n", b"\x00", b"hello\r\n"])
async def test_a_plain_client_is_told_to_speak_tls(fleet: Fleet, start: Start, server: ServerSide, said: bytes) -> None:
    gateway = await start(tls=server.context)
    async with stranger(gateway) as (reader, writer):
        writer.write(said)
        answer = await asyncio.wait_for(reader.read(), 30)
    assert answer.startswith(b"HTTP/1.1 426 ")
    assert b"Upgrade: TLS/1.2" in answer
    assert answer.endswith(b"connect with wss:// instead of ws://\n")


async def test_who_says_nothing_does_not_stay(fleet: Fleet, start: Start, server: ServerSide) -> None:
    gateway = await start(limits=Limits(handshake_ms=300), tls=server.context)
    async with stranger(gateway) as (reader, _):
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_who_stops_in_the_middle_of_the_handshake_does_not_stay(
    fleet: Fleet, start: Start, server: ServerSide
) -> None:
    gateway = await start(limits=Limits(handshake_ms=300), tls=server.context)
    async with stranger(gateway) as (reader, writer):
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        assert await asyncio.wait_for(reader.read(), 30) == b""


async def test_garbage_in_the_handshake_ends_it_and_nothing_else(
    fleet: Fleet, start: Start, server: ServerSide, folder: Folder
) -> None:
    gateway = await start(tls=server.context)
    async with known(gateway, folder, fleet) as lamp:
        for junk in (b"\x16" + b"\xff" * 600, b"\x16\x03\x01\x00\x00", b"\x16\x03\x01\x00\x05\x02abcd"):
            async with stranger(gateway) as (reader, writer):
                writer.write(junk)
                writer.write_eof()
                with contextlib.suppress(ConnectionError):
                    await asyncio.wait_for(reader.read(), 30)
        await fleet.publish(61)
        await lamp.until(level=61)


async def test_only_so_many_handshakes_go_on_at_once_and_the_next_ones_wait_for_their_turn(
    fleet: Fleet, start: Start, server: ServerSide, folder: Folder
) -> None:
    gateway = await start(limits=Limits(handshakes=2, handshake_ms=1_500), tls=server.context)
    async with stranger(gateway), stranger(gateway), known(gateway, folder, fleet) as lamp:
        # It came in when the time of the silent ones was over, and not in their place.
        await fleet.publish(62)
        await lamp.until(level=62)


async def test_tls_older_than_1_2_is_refused(fleet: Fleet, start: Start, server: ServerSide, folder: Folder) -> None:
    gateway = await start(tls=server.context)
    old = LampSide(folder.bundle).context
    with pytest.warns(DeprecationWarning, match="TLS"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await asyncio.open_connection("127.0.0.1", gateway.port, ssl=old)


async def test_a_renewed_certificate_is_shown_without_a_restart_and_open_sessions_stay(
    fleet: Fleet, start: Start, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contexts, "LOOK_S", 0.05)
    server = ServerSide(folder.server)
    gateway = await start(tls=server.context)
    before = await served_serial(gateway, folder)
    async with running(server.watch()), known(gateway, folder, fleet) as lamp:
        folder.renew()

        async def renewed() -> bool:
            return await served_serial(gateway, folder) != before

        await wait_until(renewed)
        await fleet.publish(63)
        await lamp.until(level=63)


async def test_half_a_certificate_changes_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(contexts, "LOOK_S", 0.02)
    caplog.set_level(logging.INFO)
    server = ServerSide(folder.server)
    whole = folder.server.read_bytes()
    async with running(server.watch()):
        folder.server.write_bytes(whole[: len(whole) // 3])
        await wait_until(lambda: "stays what it was" in caplog.text)
        folder.server.write_bytes(whole)
        await wait_until(lambda: "was renewed" in caplog.text)


async def test_a_session_over_tls_keeps_no_large_buffer(
    fleet: Fleet, start: Start, server: ServerSide, folder: Folder
) -> None:
    gateway = await start(tls=server.context)
    async with known(gateway, folder, fleet):
        # What other tests left behind; and asking a weak proxy what it is an instance of fails when that is gone.
        gc.collect()
        # asyncio's own are of 256 KiB each.
        sessions = [one for one in gc.get_objects() if issubclass(type(one), sslproto.SSLProtocol)]
        assert sessions
        assert max(len(one._ssl_buffer) for one in sessions) == TLS_BUFFER_BYTES  # type: ignore[attr-defined]

"""With a certificate the gateway serves as it does without one."""

from __future__ import annotations

import json
import ssl
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.gateway.conftest import Fleet, Lamp, Start
from tests.own_time import calm_s

pytestmark = pytest.mark.package("openssl")


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the sides of a server and of a client that trusts it."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", "2"),
            *("-subj", "/CN=gateway", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


async def test_lamps_are_served_refused_and_sent_away_over_tls(
    fleet: Fleet, start: Start, contexts: tuple[ssl.SSLContext, ssl.SSLContext]
) -> None:
    server, client = contexts
    gateway = await start(tls=server)
    device, token = await fleet.add("porch")
    url = f"wss://127.0.0.1:{gateway.port}/lamp"
    hello = json.dumps({"type": "hello", "protocol": 1, "id": device.id, "token": token})
    begun_s = calm_s()
    async with connect(url, ssl=client, proxy=None) as socket:
        lamp = Lamp(socket)
        await socket.send("x" * 100_000)
        assert (await lamp.closed())[0] == 1009
    async with connect(url, ssl=client, proxy=None) as socket:
        await socket.send(hello)
        assert (await Lamp(socket).receive())["type"] == "welcome"
    async with connect(url, ssl=client, proxy=None) as socket:
        lamp = Lamp(socket)
        await socket.send(hello)
        assert (await lamp.receive())["type"] == "welcome"
        await fleet.publish(66)
        await lamp.until(level=66)
        await gateway.stop()
        assert (await lamp.closed())[0] == 1012
    assert calm_s() - begun_s < 3

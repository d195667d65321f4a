"""Who may connect: tokens, first messages, and how much of everything."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Collection
from dataclasses import replace

import pytest

from espfleet.domain.devices import Device, Dialect, Kind
from espfleet.domain.messages import ProtocolError
from espfleet.domain.pictures import MAGIC
from espfleet.domain.registry import Registry
from espfleet.domain.tokens import hash_token, matching_hash, new_token
from espfleet.errors import InvalidError, StartError
from espfleet.gateway import passes
from espfleet.gateway.passes import WITHOUT_HELLO, Directory
from espfleet.gateway.server import GatewaySettings, Limits
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet, Gateway, Start, dialled, lamp_of, running
from tests.gateway.raw import TEXT, frame, raw, request


async def test_without_its_token_a_lamp_is_told_nothing(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    _, other_token = await fleet.add("roof", 2)
    for shown, reason in (
        ("", "porch must show its token"),
        (token[:-1] + "!", "this is not a token of porch"),
        (other_token, "this is not a token of porch"),
        (device.token_hashes[0], "this is not a token of porch"),
    ):
        async with dialled(gateway) as lamp:
            await lamp.send("hello", protocol=1, id=device.id, token=shown)
            assert await lamp.closed() == (4001, reason)


async def test_a_device_that_is_not_registered_is_sent_away(fleet: Fleet, gateway: Gateway) -> None:
    async with dialled(gateway) as lamp:
        await lamp.send("hello", protocol=1, id="00000000dead", token=new_token())
        assert await lamp.closed() == (4004, "no device with id 00000000dead is registered")


async def test_a_device_may_come_in_the_moment_it_is_registered(fleet: Fleet, gateway: Gateway) -> None:
    for number in range(1, 20):
        device, token = await fleet.add(f"lamp-{number}", number)
        async with lamp_of(gateway, device, token) as lamp:
            assert (await lamp.receive())["type"] == "welcome"


async def test_while_a_token_is_rotated_both_open_the_door(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    newer = new_token()
    await fleet.put(device, token_hashes=(*device.token_hashes, hash_token(newer)))
    for shown in (token, newer):
        async with lamp_of(gateway, device, shown) as lamp:
            assert (await lamp.receive())["type"] == "welcome"
            await lamp.socket.close()


async def test_no_token_reaches_the_log(fleet: Fleet, gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets.client").setLevel(logging.WARNING)
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
    async with dialled(gateway, f"/?token={token}") as lamp:
        assert (await lamp.closed())[0] == 4001
    async with dialled(gateway) as lamp:
        await lamp.send("hello", protocol=2, id=device.id, token=token)
        assert token not in (await lamp.closed())[1]
    assert "porch has come" in caplog.text
    assert token not in caplog.text
    assert token not in repr(GatewaySettings())


def test_a_token_is_held_against_one_device_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = Device(id=f"{0:012x}", name="lamp", dialect=Dialect.PINGLAMP)
    made = {
        device_id: replace(usual, id=device_id, name=f"lamp-{number}", token_hashes=(hash_token(f"t-{number}"),))
        for number in range(300)
        for device_id in [f"{number:012x}"]
    }
    directory = Directory(Registry(devices=made))
    compared: list[str] = []

    def compare(token: str, hashes: Collection[str]) -> str | None:
        compared.extend(hashes)
        return matching_hash(token, hashes)

    monkeypatch.setattr(passes, "matching_hash", compare)
    assert directory.find("192.0.2.1", "t-299", WITHOUT_HELLO)[0].name == "lamp-299"
    with pytest.raises(ProtocolError, match="not the token of a device"):
        directory.find("192.0.2.1", "wrong", WITHOUT_HELLO)
    assert compared == [hash_token("t-299")]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        ('{"type":"keepalive"}', "the first message must say who you are"),
        ('{"type":"keepalive","shown":1}', "the first message must be a hello"),
        ('{"type":"watch"}', "the first message must be a hello"),
        ('{"type":"status"}', "the first message must be a hello"),
        ("hello", "the message is not JSON"),
        ('{"type":"hello","protocol":2,"id":"000000000001"}', "this gateway speaks protocol 1, not 2"),
        ('{"type":"hello","protocol":1,"id":"porch"}', "'porch' is not a hardware id: it has 12 hex digits"),
        (b"hello", "the first message must say who you are, in text"),
    ],
)
async def test_whoever_begins_with_something_else_is_sent_away(
    fleet: Fleet, gateway: Gateway, first: str | bytes, reason: str
) -> None:
    async with dialled(gateway) as lamp:
        await lamp.socket.send(first)
        assert await lamp.closed() == (4003, reason)


async def test_one_hello_is_enough(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    for message in ("hello", "watch"):
        async with lamp_of(gateway, device, token) as lamp:
            await lamp.receive()
            await lamp.send(message, protocol=1, id=device.id, token=token)
            assert (await lamp.closed())[0] == 4003


async def test_whoever_says_nothing_is_sent_away(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(hello_ms=200))
    async with dialled(gateway) as lamp:
        assert await lamp.closed(2) == (4003, "the first message did not come in time")


async def test_a_handshake_that_takes_too_long_is_ended(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(handshake_ms=200))
    for begun in (b"", b"GET /lamp HTTP/1.1\r\nHost: x\r\n"):
        async with raw(gateway.port) as link:
            await link.write(begun)
            assert (await link.answer(2)).startswith("HTTP/1.1 408 ")


async def test_too_many_messages_end_a_session(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(messages_per_s=50))
    device, token = await fleet.add("porch")
    hello = json.dumps({"type": "hello", "protocol": 1, "id": device.id, "token": token}).encode()
    for flood in (frame(TEXT, b'{"type":"keepalive","shown":1}'), frame(TEXT, b'{"type":"keepalive"}')):
        async with raw(gateway.port) as link:
            await link.upgrade()
            await link.write(frame(TEXT, hello))
            await link.frame()
            await link.write(flood * 200)
            assert (await link.control()).close_reason == "too many messages"


async def test_single_keepalives_are_counted_too(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(messages_per_s=20))
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()

        async def flood() -> bool:
            await lamp.socket.send('{"type":"keepalive"}')
            return lamp.socket.protocol.close_rcvd is not None

        with pytest.raises(Exception, match="too many messages"):
            await wait_until(flood)


async def test_a_usual_number_of_messages_is_never_too_many(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(messages_per_s=20))
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.receive()
        for _ in range(30):
            await lamp.send("keepalive", shown=1)
            await asyncio.sleep(0.07)
        assert (await lamp.receive())["type"] == "level"


async def test_only_a_camera_may_send_pictures(fleet: Fleet, gateway: Gateway) -> None:
    camera, token = await fleet.add("eye", 1, kinds=(Kind.CAMERA,))
    async with lamp_of(gateway, camera, token) as eye:
        await eye.receive()
        await eye.socket.send(MAGIC.ljust(1_048_576, b"\0"))
        await eye.send("keepalive", shown=1)
        assert (await eye.receive())["type"] == "level"
        await eye.socket.send(bytes(1_048_577))
        assert (await eye.closed())[0] == 1009
    async with lamp_of(gateway, camera, token) as eye:
        await eye.receive()
        await eye.socket.send('{"type":"event","name":"' + "x" * 5_000 + '"}')
        assert await eye.closed() == (4008, "a message may have 4096 bytes")


async def test_above_its_limit_of_connections_the_gateway_refuses(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(connections=2))
    async with raw(gateway.port) as first, raw(gateway.port) as second:
        await first.upgrade()
        await second.upgrade()
        async with raw(gateway.port) as third:
            await third.write(b"GET /lamp HTTP/1.1\r\nUpgrade: websocket\r\n\r\n")
            assert (await third.answer()).startswith("HTTP/1.1 503 ")

    # As soon as it knows that they have gone there is room.
    async def comes_in() -> bool:
        async with raw(gateway.port) as again:
            await again.write(request())
            return (await again.head()).startswith("HTTP/1.1 101 ")

    await wait_until(comes_in)


async def test_a_port_in_use_is_told_in_one_sentence(fleet: Fleet, start: Start) -> None:
    gateway = await start()
    with pytest.raises(StartError, match=rf"^port {gateway.port} of 127.0.0.1 is in use by another program"):
        await start(port=gateway.port, name="second")


async def test_a_host_that_is_not_here_is_told_in_one_sentence(fleet: Fleet, start: Start) -> None:
    with pytest.raises(StartError, match=r"^192\.0\.2\.1 is not an address of this machine"):
        await start(host="192.0.2.1")
    with pytest.raises(StartError, match="cannot listen on 'no such host'"):
        await start(host="no such host")


async def test_a_name_may_stand_for_several_addresses(fleet: Fleet, start: Start) -> None:
    gateway = await start(host="localhost")
    addresses = {info[4][0] for info in socket.getaddrinfo("localhost", gateway.port, type=socket.SOCK_STREAM)}
    reached = 0
    for address in addresses:
        try:
            _, writer = await asyncio.open_connection(address, gateway.port)
        except OSError:
            continue
        writer.close()
        reached += 1
    assert reached


def test_a_lease_shorter_than_a_period_is_refused() -> None:
    with pytest.raises(InvalidError, match="stale between two levels"):
        GatewaySettings(period_ms=2_000)


async def test_an_emptied_registry_closes_no_session_and_shows_that_nothing_is_known(
    fleet: Fleet, gateway: Gateway
) -> None:
    device, token = await fleet.add("porch")
    # A lamp that says nothing is late after 2 s, and is sent nothing; the registry is looked at every 2 s.
    async with lamp_of(gateway, device, token) as lamp, running(lamp.keep_alive()):
        await lamp.receive()
        await fleet.store.redis.delete(*[key async for key in fleet.store.redis.scan_iter("*{reg}*")])
        await lamp.until(state="unknown")
        await fleet.store.settle()
        await fleet.change(Change("devices", device.id, device.to_dict()))
        await fleet.set_up()
        await lamp.until(state="ok")

"""S2's relay: what one client says, all others hear; two of one number cannot be."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from unittest import mock

import pytest
from websockets.exceptions import InvalidStatus

from espfleet.domain.messages import KEEPALIVE, ProtocolError
from espfleet.domain.registry import Registry
from espfleet.domain.tokens import hash_token
from espfleet.gateway.passes import Directory
from espfleet.gateway.relay import Relay
from espfleet.gateway.settings import GatewaySettings, Limits
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import Dialect, Fleet, Gateway, Lamp, Start, dialled
from tests.gateway.raw import PING, PONG, TEXT, frame, raw


async def heard(client: Lamp) -> str:
    text = await client.socket.recv()
    assert isinstance(text, str)
    return text


async def test_what_one_says_all_others_hear(gateway: Gateway) -> None:
    async with dialled(gateway, "/relay/1") as a, dialled(gateway, "/relay/2") as b, dialled(gateway, "/relay/-7") as c:
        await a.socket.send("SOS!")
        assert [await heard(client) for client in (b, c)] == ["Mes from 1: SOS!"] * 2
        await c.socket.send('{"any": "text"}')
        # Nothing of it came back to who said it.
        assert await heard(a) == 'Mes from -7: {"any": "text"}'
        await b.socket.send('{"type":"keepalive"}')
        assert await heard(c) == 'Mes from 2: {"type":"keepalive"}'


async def test_a_number_that_is_taken_is_refused_before_the_upgrade(gateway: Gateway) -> None:
    async with dialled(gateway, "/relay/1") as first:
        with pytest.raises(InvalidStatus) as caught:
            async with dialled(gateway, "/relay/1"):
                pass
        assert caught.value.response.status_code == 403
        assert caught.value.response.body == b"Client 1 already exists.\n"
        async with dialled(gateway, "/relay/2") as other:
            await other.socket.send("still here")
            assert await heard(first) == "Mes from 2: still here"

    # As soon as it has gone, the number is free.
    async def again() -> bool:
        try:
            async with dialled(gateway, "/relay/1"):
                return True
        except InvalidStatus:
            return False

    await wait_until(again)


@pytest.mark.parametrize("number", ["x", "", "1.5", "9" * 30, "1/2"])
async def test_what_is_no_number_is_refused_before_the_upgrade(gateway: Gateway, number: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with dialled(gateway, f"/relay/{number}"):
            pass
    assert caught.value.response.status_code == 403


async def test_one_who_leaves_in_the_middle_harms_nobody(gateway: Gateway) -> None:
    async with dialled(gateway, "/relay/1") as a, dialled(gateway, "/relay/2") as b, dialled(gateway, "/relay/3") as c:
        b.socket.transport.abort()
        for number in range(20):
            await a.socket.send(str(number))
        assert [await heard(c) for _ in range(20)] == [f"Mes from 1: {number}" for number in range(20)]


async def test_who_is_silent_is_asked_and_sent_away_if_it_does_not_answer(fleet: Fleet, start: Start) -> None:
    gateway = await start(relay_ping_ms=1_000)
    async with raw(gateway.port) as answers, raw(gateway.port) as dead:
        for link, number in ((answers, 1), (dead, 2)):
            await link.upgrade(f"/relay/{number}")
        for _ in range(3):
            assert (await answers.frame()).opcode == PING
            await answers.write(frame(PONG))
        assert (await dead.frame()).opcode == PING
        assert await dead.close_code() == 1001
        await answers.write(frame(TEXT, b"x") + frame(PING, b"?"))
        got = await answers.frame()
        while got.opcode == PING:
            got = await answers.frame()
        assert (got.opcode, got.payload) == (PONG, b"?")


async def test_as_soon_as_the_fleet_has_tokens_one_is_needed(fleet: Fleet, gateway: Gateway) -> None:
    _, token = await fleet.add("sos", 5, dialect=Dialect.RELAY, address="192.0.2.4")
    async with dialled(gateway, "/relay/1") as early:
        await fleet.change(Change("tokens", hash_token("secret"), {"name": "postman", "role": "viewer"}))
        assert (await early.closed())[0] == 4004
    for path in ("/relay/3?token=secret", f"/relay?token={token}&id=3"):
        # S2's clients put their number behind the URL they are given: both forms serve.
        async with dialled(gateway, path) as one, dialled(
            gateway, "/relay/4", additional_headers={"Authorization": "Bearer secret"}
        ) as other:  # fmt: skip
            await one.socket.send("hi")
            assert await heard(other) == "Mes from 3: hi"

        async def gone() -> bool:
            try:
                async with dialled(gateway, "/relay/3?token=secret"):
                    return True
            except InvalidStatus:
                return False

        await wait_until(gone)
    async with dialled(gateway, "/relay/9?token=wrong") as stranger:
        assert (await stranger.closed())[0] == 4001


async def test_a_registered_client_is_known_by_its_address(fleet: Fleet, gateway: Gateway) -> None:
    await fleet.change(Change("tokens", hash_token("secret"), {"name": "postman", "role": "viewer"}))
    device, _ = await fleet.add("sos", 5, dialect=Dialect.RELAY, address="127.0.0.1")
    async with dialled(gateway, "/relay/17") as one, dialled(gateway, "/relay/18?token=secret") as other:
        # What is said before the newest of the registry is known is lost.
        async def told() -> bool:
            await one.socket.send("SOS!")
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(heard(other), 0.2) == "Mes from 17: SOS!"
            return False

        await wait_until(told)
        await fleet.put(device, address="192.0.2.9")
        assert (await one.closed())[0] == 4004


async def test_binary_messages_are_refused(gateway: Gateway) -> None:
    async with dialled(gateway, "/relay/1") as client:
        await client.socket.send(b"\0")
        assert (await client.closed())[0] == 4003


async def heard_of(client: Lamp, number: str) -> list[str]:
    """Return what has come from another client until the first pause."""
    found = []
    with contextlib.suppress(TimeoutError):
        while True:
            found.append(await asyncio.wait_for(heard(client), 1))
    return [text for text in found if text.startswith(f"Mes from {number}: ")]


async def test_one_who_talks_to_very_many_does_not_hold_up_the_lamps(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.relay.SENT_PER_S", 60)
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(dialled(gateway, f"/relay/{number}")) for number in range(10)]
        async with raw(gateway.port) as talker:
            await talker.upgrade("/relay/77")
            # Far fewer than a client may say; as keepalives, which are counted only once a second.
            await talker.write(frame(TEXT, KEEPALIVE.encode()) * 100)
            assert await talker.close_code() == 4008
        assert 6 <= len(await heard_of(listeners[0], "77")) < 100
        # Who says little goes on.
        await listeners[1].socket.send("SOS!")
        assert await heard_of(listeners[2], "1") == ["Mes from 1: SOS!"]


def test_clients_that_waited_at_the_door_are_no_more_than_there_may_be() -> None:
    relay = Relay(GatewaySettings(limits=Limits(viewers=2)), lambda: 0.0, lambda _: None)
    for number in ("1", "2"):
        assert relay.refusal(number) is None
        relay.begin(mock.Mock(host="127.0.0.1"), number, "", Directory(Registry()))
    with pytest.raises(ProtocolError, match="as many clients as it may have"):
        relay.begin(mock.Mock(host="127.0.0.1"), "3", "", Directory(Registry()))

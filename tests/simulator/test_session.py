from __future__ import annotations

import asyncio

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Response

from espfleet.domain.closing import CloseCode, restart_reason
from espfleet.domain.light import Link, Word
from espfleet.domain.states import State
from espfleet.errors import InvalidError
from espfleet.simulator.backoff import Ending
from espfleet.simulator.session import lamp_url, monotonic_ms, refused
from espfleet.simulator.specs import LampSpec, hardware_id, new_lamps
from tests.conftest import wait_until
from tests.simulator.conftest import FakeGateway, post, running

ID = hardware_id(1)
LAMP = LampSpec(id=ID, name="lamp-1", token="secret")


class JumpingClock:
    """A clock that tests can turn forward."""

    def __init__(self) -> None:
        self.ahead_ms = 0.0

    def __call__(self) -> float:
        return monotonic_ms() + self.ahead_ms


async def test_a_lamp_connects_shows_the_level_and_keeps_saying_that_it_lives(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).word == Word.LEVEL)
        assert simulator.look(ID).level == 20
        assert gateway.paths == ["/lamp"]
        assert (gateway.hellos[0].id, gateway.hellos[0].token) == (ID, "secret")
        await gateway.tell(ID, 90)
        await wait_until(lambda: simulator.look("porch").level == 90)
        await wait_until(lambda: len(gateway.keepalives()) >= 3)
        assert gateway.keepalives()[0].uptime_ms is not None
        assert gateway.keepalives()[1].uptime_ms is None


async def test_a_state_that_says_nothing_is_shown_as_such(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: ID in gateway.lamps)
        await gateway.tell(ID, 0, State.UNKNOWN)
        await wait_until(lambda: simulator.look(ID).word == Word.UNKNOWN)
        # What it showed fades out first.
        await wait_until(lambda: simulator.look(ID).channels.green < 0.01)


async def test_commands_are_done_and_answered(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: ID in gateway.lamps)
        assert (await gateway.command(ID, "identify")).ok
        await wait_until(lambda: simulator.look(ID).word == Word.IDENTIFY)
        refused = await gateway.command(ID, "dance")
        assert not refused.ok
        assert "cannot do 'dance'" in refused.error


async def test_a_reboot_ends_the_connection_and_begins_with_the_self_test(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: ID in gateway.lamps)
        assert (await gateway.command(ID, "reboot")).ok
        await wait_until(lambda: simulator.look(ID).word == Word.SELF_TEST)
        await wait_until(lambda: len(gateway.hellos) == 2)
        assert (gateway.hellos[1].boot_reason, gateway.hellos[1].boot_count) == ("reboot", 2)


async def test_readings_and_events_reach_the_gateway(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url, readings_ms=50) as simulator:
        await wait_until(gateway.readings)
        assert "temperature_c" in gateway.readings()[0].values
        assert await simulator.tell_event(ID, "button", {"pressed": True})
        await wait_until(lambda: [event.fields for event in gateway.events()] == [{"pressed": True}])


async def test_a_frozen_lamp_says_nothing_and_stays_connected(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(gateway.keepalives)
        simulator.freeze(ID)
        # A command that it would answer, and that arrives after its last word.
        await gateway.lamps[ID].send('{"type":"command","id":"c-9","action":"identify"}')
        await wait_until(lambda: simulator.look(ID).word == Word.IDENTIFY)
        said = len(gateway.heard)
        await gateway.tell(ID, 60)
        await wait_until(lambda: simulator.look(ID).state == State.OK)
        assert (len(gateway.heard), len(gateway.hellos), gateway.closed) == (said, 1, {})
        simulator.thaw(ID)
        await wait_until(lambda: len(gateway.heard) > said)


async def test_a_lamp_that_stops_reading_still_says_that_it_lives(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).level == 20)
        simulator.stop_reading(ID)
        before = len(gateway.heard)
        await wait_until(lambda: len(gateway.heard) > before + 2)
        for value in range(50, 100):
            await gateway.tell(ID, value)
        said = len(gateway.heard)
        await wait_until(lambda: len(gateway.heard) > said + 2)
        assert simulator.look(ID).level == 20
        simulator.thaw(ID)
        await wait_until(lambda: simulator.look(ID).level == 99)


async def test_a_cut_connection_has_no_closing_word_and_comes_back(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).link == Link.CONNECTED)
        simulator.cut(ID)
        await wait_until(lambda: ID in gateway.closed)
        assert gateway.closed[ID] == 1006
        await wait_until(lambda: len(gateway.hellos) == 2)
        assert gateway.hellos[1].resume == 42


async def test_while_the_gateway_is_away_the_lamp_says_so_and_then_heals(gateway: FakeGateway) -> None:
    gateway.lease_ms = 300
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).link == Link.CONNECTED)
        await gateway.close()
        await wait_until(lambda: simulator.look(ID).word == Word.NO_GATEWAY)
        await wait_until(lambda: "cannot be reached" in simulator.look(ID).why)
        assert "next try in" in simulator.look(ID).why
        await gateway.open()
        await wait_until(lambda: simulator.look(ID).word in (Word.LEVEL, Word.LATE, Word.STALE))


async def test_a_restarting_gateway_is_left_alone_for_as_long_as_it_asks(gateway: FakeGateway) -> None:
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).link == Link.CONNECTED)
        await gateway.close(CloseCode.RESTARTING, restart_reason(700))
        await wait_until(lambda: "next try in 0.7 s" in simulator.look(ID).why)
        await gateway.open()
        before = monotonic_ms()
        await wait_until(lambda: len(gateway.hellos) == 2)
        assert monotonic_ms() - before > 400


@pytest.mark.parametrize(
    ("code", "reason", "why", "least_s"),
    [
        (CloseCode.TOKEN, "wrong token", "the gateway does not accept the token (4001: wrong token)", 30),
        (CloseCode.UNREGISTERED, "", "the lamp is not registered (4004)", 30),
        # It may be one message that could not be read, so the first wait is short.
        (CloseCode.PROTOCOL, "", "the gateway does not speak this protocol (4003)", 1),
    ],
)
async def test_a_refused_lamp_says_why_and_asks_again_after_a_long_wait(
    gateway: FakeGateway, code: CloseCode, reason: str, why: str, least_s: int
) -> None:
    gateway.close_with = (code, reason)
    async with running([LAMP], gateway.url) as simulator:
        await wait_until(lambda: simulator.look(ID).why)
        said, _, wait = simulator.look(ID).why.partition("; next try in ")
        assert said == why
        assert least_s <= float(wait.removesuffix(" s")) <= 2 * least_s
        assert simulator.look(ID).link == Link.NO_GATEWAY


async def test_a_lamp_whose_token_was_refused_takes_another_one_and_connects_at_once(gateway: FakeGateway) -> None:
    gateway.close_with = (CloseCode.TOKEN, "")
    kept: list[LampSpec] = []
    async with running([LAMP], gateway.url, provisioned=kept.append) as simulator:
        await wait_until(lambda: simulator.look(ID).why)
        gateway.close_with = None
        status, _ = await post(simulator.look(ID).address, "/provision", {"token": "other"})
        assert status == 200
        await wait_until(lambda: simulator.look(ID).link == Link.CONNECTED)
        assert gateway.hellos[-1].token == "other"
        assert [spec.token for spec in kept] == ["other"]


async def test_a_lamp_without_a_token_does_not_bother_the_gateway_until_it_has_one(gateway: FakeGateway) -> None:
    (spec,) = new_lamps(1)
    async with running([spec], "ws://127.0.0.1:9") as simulator:
        assert simulator.look(spec.id).link == Link.NO_SETTINGS
        status, answer = await post(
            simulator.look(spec.id).address, "/provision", {"token": "secret", "gateway_url": gateway.url}
        )
        assert (status, answer) == (200, {"id": spec.id, "status": "OK"})
        await wait_until(lambda: simulator.look(spec.id).link == Link.CONNECTED)


async def test_a_gateway_that_falls_silent_is_left(gateway: FakeGateway) -> None:
    clock = JumpingClock()
    gateway.period_ms = 500
    async with running([LAMP], gateway.url, clock=clock) as simulator:
        await wait_until(gateway.keepalives)
        clock.ahead_ms += 4_000
        said = len(gateway.heard)
        await wait_until(lambda: len(gateway.heard) > said + 1)
        assert gateway.closed == {}
        clock.ahead_ms += 1_500
        await wait_until(lambda: "the gateway said nothing for" in simulator.look(ID).why)
        await wait_until(lambda: len(gateway.hellos) == 2)


async def test_a_token_is_not_carried_to_where_a_redirect_points(gateway: FakeGateway) -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {gateway.url}/lamp\r\nContent-Length: 0\r\n\r\n".encode())
        writer.close()

    async with await asyncio.start_server(redirect, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running([LAMP], f"ws://127.0.0.1:{port}") as simulator:
            await wait_until(lambda: "HTTP 302" in simulator.look(ID).why)
    assert gateway.paths == []


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", "HTTP 503; next try in 7.0 s"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak WebSocket"),
    ],
)
async def test_what_is_no_gateway_is_told(answer: bytes, wait: str) -> None:
    async def answer_all(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(answer_all, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with running([LAMP], f"ws://127.0.0.1:{port}") as simulator:
            await wait_until(lambda: wait in simulator.look(ID).why)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("ws://127.0.0.1:5678", "ws://127.0.0.1:5678/lamp"),
        ("ws://[::1]:5678/", "ws://[::1]:5678/lamp"),
        ("wss://hub.example/lamp", "wss://hub.example/lamp"),
        ("ws://hub.example:5678/other?x=1", "ws://hub.example:5678/other?x=1"),
    ],
)
def test_lamps_connect_at_their_path(given: str, url: str) -> None:
    assert lamp_url(given) == url


@pytest.mark.parametrize(
    "url",
    ["", "http://127.0.0.1", "ws://", "ws://:5678", "ws://h:99999", "ws://h:0", "ws://u:p@h", "ws://h\n", "ws://["],
)
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(InvalidError, match="is not the URL of a gateway"):
        lamp_url(url)


def test_a_lamp_that_has_the_address_of_before_tls_says_which_one_it_wants() -> None:
    assert refused(Response(426, "Upgrade Required", Headers())).why.endswith("its address begins with wss://")
    assert refused(Response(503, "", Headers({"Retry-After": "7"}))) == Ending(
        why="the gateway answered HTTP 503", retry_after_ms=7_000
    )

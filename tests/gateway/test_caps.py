"""Every cap of the gateway, from the side of somebody who takes more than there is; the others notice nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import struct
import sys
import time
from contextlib import AsyncExitStack
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus

from espfleet.cli.run import limits_of
from espfleet.domain.attempts import AT_ONCE
from espfleet.domain.closing import retry_after_ms
from espfleet.domain.devices import Kind, Presence
from espfleet.domain.pictures import MAGIC
from espfleet.domain.places import FULL_S, SPREAD_S
from espfleet.domain.tokens import new_token
from espfleet.gateway import crowds
from espfleet.gateway.connection import Connection
from espfleet.gateway.crowds import SPARE_SHARE, Crowd
from espfleet.gateway.server import Limits, within_files
from espfleet.services import devices
from espfleet.settings import read_settings
from espfleet.store import events, presence
from tests.conftest import wait_until
from tests.gateway.conftest import Device, Fleet, Gateway, Lamp, Start, dialled, lamp_of
from tests.gateway.raw import BINARY, TEXT, frame, mute, raw, request

FEW = Limits(linger_ms=300)


async def refused(gateway: Gateway, path: str = "/lamp", **options: object) -> tuple[int, int]:
    """Return status and ``Retry-After`` of a handshake that must not succeed."""
    with pytest.raises(InvalidStatus) as caught:
        async with dialled(gateway, path, **options):
            pass
    answer = caught.value.response
    return answer.status_code, int(answer.headers.get("Retry-After", 0))


async def comes_in(fleet: Fleet, gateway: Gateway, number: int = 90) -> None:
    """See that a lamp with a token is served."""
    device, token = await fleet.add(f"lamp-{number}", number)

    async def welcome() -> bool:
        async with lamp_of(gateway, device, token) as lamp:
            with contextlib.suppress(ConnectionClosedError):
                return bool((await lamp.receive())["type"] == "welcome")
        # On a busy machine a gateway may not be told in time who has just been registered.
        assert (lamp.socket.close_code, lamp.socket.close_reason.partition(";")[0]) == (
            1013,
            "the fleet's registry cannot be read now",
        )
        return False

    await wait_until(welcome)
    await devices.unregister(fleet.store, name=device.name)


async def test_one_source_cannot_take_all_connections(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, connections_per_source=2))
    async with dialled(gateway), dialled(gateway):
        status, retry_s = await refused(gateway)
        assert status == 503
        assert FULL_S <= retry_s < FULL_S + SPREAD_S
        device, token = await fleet.add("porch")
        async with dialled(gateway, local_addr=("127.0.0.2", 0)) as other:
            await other.send("hello", protocol=1, id=device.id, token=token)
            assert (await other.receive())["type"] == "welcome"


async def test_all_connections_have_an_end_and_a_place_is_free_again(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, connections=2))
    async with dialled(gateway), dialled(gateway, local_addr=("127.0.0.2", 0)):
        assert (await refused(gateway))[0] == 503

    async def free() -> bool:
        with contextlib.suppress(InvalidStatus):
            async with dialled(gateway):
                return True
        return False

    await wait_until(free)


@pytest.mark.parametrize("cap", ["guests", "guests_per_source"])
async def test_who_says_nothing_leaves_room_for_those_who_say_who_they_are(
    fleet: Fleet, start: Start, cap: str
) -> None:
    gateway = await start(replace(FEW, **{cap: 2}, hello_ms=2_000))
    device, token = await fleet.add("porch")
    async with lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        async with dialled(gateway) as first, dialled(gateway) as second:
            assert (await refused(gateway))[0] == 503
            # They have two seconds for their first message.
            assert [(await one.closed())[0] for one in (first, second)] == [4003, 4003]
        await comes_in(fleet, gateway)
        await fleet.publish(66)
        await lamp.until(level=66)


async def test_sources_that_take_all_places_of_guests_together_make_way_for_others(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, connections=40, guests=6, guests_per_source=3, told=2))
    async with AsyncExitStack() as stack:
        # Two that stall after their handshakes, two that stall in them, and as many more as there is room for.
        for source in ("127.0.0.2", "127.0.0.3"):
            for _ in range(3):
                await stack.enter_async_context(dialled(gateway, local_addr=(source, 0)))
        for source in ("127.0.0.4", "127.0.0.5"):
            for _ in range(3):
                await stack.enter_async_context(raw(gateway.port, source=source))
        for number, source in enumerate(("127.0.0.6", "127.0.0.7"), 1):
            device, token = await fleet.add(f"lamp-{number}", number)
            lamp = await stack.enter_async_context(dialled(gateway, local_addr=(source, 0)))
            await lamp.send("hello", protocol=1, id=device.id, token=token)
            assert (await lamp.receive())["type"] == "welcome"


def test_who_makes_way_is_the_oldest_of_those_who_are_most(monkeypatch: pytest.MonkeyPatch) -> None:
    class Coming:
        def __init__(self, host: str) -> None:
            self.host = host

    crowd = Crowd(Limits(guests=4, guests_per_source=3, told=1), lambda: 0.0)

    def come(host: str) -> Any:
        assert crowd.may_come(host)
        return crowd.come(cast(Connection, Coming(host)))

    assert [come(host) for host in ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1")] == [[]] * 4
    oldest = next(iter(crowd))
    assert crowd._in_the_way("10.0.0.3") is oldest
    with monkeypatch.context() as few:
        # Among very many there is none that is to blame.
        few.setattr(crowds, "MANY_SOURCES", 1)
        assert crowd._in_the_way("10.0.0.3") is None
    # Those who are most, or nearly as many, send nobody away.
    assert crowd._in_the_way("10.0.0.1") is None
    assert come("10.0.0.3") == [oldest]
    assert crowd._in_the_way("10.0.0.2") is None
    assert come("10.0.0.2") == []
    # All places are taken, those of the ones that are told so too, and nobody has many more than the others.
    assert not crowd.may_come("10.0.0.2")
    # Of five there are to be four with this one.
    assert len(come("10.0.0.4")) == 2


async def test_far_too_many_are_cut_without_a_word(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, connections_per_source=1, told=1))
    async with AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(raw(gateway.port))
        cut = await stack.enter_async_context(raw(gateway.port))
        with contextlib.suppress(ConnectionError):
            assert await cut.answer() == ""


async def test_a_storm_is_let_in_as_fast_as_it_can_be_served_and_the_rest_is_told_when_to_return(
    fleet: Fleet, start: Start
) -> None:
    gateway = await start(replace(FEW, connects_per_s=10))
    many = await fleet.add_many(50)
    waits: list[int] = []
    statuses: set[int] = set()

    async def come(number: int) -> int:
        """Come until let in, as lamps do; return how often it took."""
        device, token = many[number]
        for tries in range(1, 20):
            try:
                async with lamp_of(gateway, device, token) as lamp:
                    assert (await lamp.receive())["type"] == "welcome"
                    return tries
            except InvalidStatus as exc:
                statuses.add(exc.response.status_code)
                waits.append(int(exc.response.headers["Retry-After"]))
                await asyncio.sleep(waits[-1])
        raise AssertionError("it was never let in")

    began_s = time.monotonic()
    tries = await asyncio.gather(*(come(number) for number in range(50)))
    lasted_s = time.monotonic() - began_s
    # 20 at once, and ten in a second from then on; a slow machine brings them more slowly than that.
    assert sum(tries) - len(waits) == 50 <= 20 + 10 * lasted_s + 1
    assert statuses <= {503}
    assert all(1 <= wait_s <= crowds.LONGEST_S for wait_s in waits)


def test_those_who_wait_are_spread_over_the_time_it_takes_to_serve_them() -> None:
    now_s = [0.0]
    crowd = Crowd(Limits(connects_per_s=100), lambda: now_s[0])
    told = [crowd._too_fast() for _ in range(1_200)]
    assert told[:200] == [None] * 200
    waits = [one[1] for one in told[200:] if one is not None]
    assert [waits.count(second) for second in range(1, 11)] == [100] * 10
    now_s[0] = 10.0
    assert crowd._too_fast() is None


def test_a_source_that_keeps_coming_keeps_out_nobody_from_elsewhere() -> None:
    now_s = [0.0]
    crowd = Crowd(Limits(connects_per_s=100), lambda: now_s[0])
    let_in, others = 0, []
    for _ in range(100):
        # In ten seconds forty times as many as may come.
        let_in += sum(crowd._too_fast("192.0.2.1") is None for _ in range(400))
        others.append(crowd._too_fast("192.0.2.2") is None)
        now_s[0] += 0.1
    assert all(others)
    assert let_in <= 200 + 10 * 100
    # Sources that come alike get nothing more.
    crowd = Crowd(Limits(connects_per_s=100), lambda: 0.0)
    assert sum(crowd._too_fast(f"192.0.2.{number % 50}") is None for number in range(1_000)) == 200
    # What is spare has an end.
    crowd = Crowd(Limits(connects_per_s=100), lambda: 0.0)
    assert sum(crowd._too_fast("192.0.2.1") is None for _ in range(1_000)) == 200
    assert sum(crowd._too_fast("192.0.2.2") is None for _ in range(1_000)) == 200 // SPARE_SHARE


async def test_who_sends_too_many_bytes_is_sent_away(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, bytes_per_s=20_000))
    device, token = await fleet.add("porch")
    neighbour, its_token = await fleet.add("roof", 2)
    async with lamp_of(gateway, neighbour, its_token) as other, lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        for _ in range(20):
            await lamp.send("event", name="noise", text="x" * 3_000)
        assert await lamp.closed() == (4008, "too many bytes")
        await fleet.publish(67)
        await other.until(level=67)


async def test_one_device_does_not_push_out_what_others_told(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.journal.EVENTS_AT_ONCE", 5)
    monkeypatch.setattr("espfleet.gateway.journal.EVENT_EACH_S", 3_600)
    gateway = await start()
    loud, its_token = await fleet.add("porch")
    quiet, other_token = await fleet.add("attic", 2)

    async def told_by(device: Device) -> int:
        found = await events.latest(fleet.store)
        return sum(event.kind == "device" and event.fields["device"] == device.id for event in found)

    for _ in range(2):
        # To come again changes nothing.
        async with lamp_of(gateway, loud, its_token) as lamp:
            await lamp.until(type="welcome")
            for number in range(10):
                await lamp.send("event", name="button", number=number)
            assert await lamp.closed() == (4008, "too many events")
    async with lamp_of(gateway, quiet, other_token) as other:
        await other.until(type="welcome")
        await other.send("event", name="button")
        await wait_until(partial(told_by, quiet))
    assert await told_by(loud) == 5


async def test_a_device_that_comes_again_and_again_has_to_wait_and_no_other_has(
    fleet: Fleet, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("espfleet.gateway.hub.COMES_AT_ONCE", 3)
    monkeypatch.setattr("espfleet.gateway.hub.COMES_EACH_S", 3_600)
    gateway = await start()
    device, token = await fleet.add("porch")
    for _ in range(3):
        async with lamp_of(gateway, device, token) as lamp:
            await lamp.until(type="welcome")
        await wait_until(partial(is_away, fleet, device))
    async with lamp_of(gateway, device, token) as lamp:
        code, reason = await lamp.closed()
        assert (code, reason.partition(";")[0]) == (1013, "this device comes too often")
        assert 0 < (retry_after_ms(reason) or 0) <= 3_600_000
    # It is not the source that has to wait.
    await comes_in(fleet, gateway)


async def is_away(fleet: Fleet, device: Device) -> bool:
    known = await presence.read_presence(fleet.store, [device.id])
    return known[device.id].presence is Presence.OFFLINE


async def test_a_message_that_never_ends_does_not_get_past_the_cap(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, bytes_per_s=20_000))
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as link:
        await mute(link, device, token)
        with contextlib.suppress(ConnectionError):
            for _ in range(40):
                await link.write(frame(TEXT, b"x" * 1_000, fin=False) if _ == 0 else frame(0, b"x" * 1_000, fin=False))
        assert await link.close_code() in (4008, 1009)


async def test_a_camera_may_send_more_and_not_without_end(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, bytes_per_s=5_000, picture_bytes_per_s=300_000))
    device, token = await fleet.add("eye", kinds=(Kind.CAMERA,))
    picture = MAGIC + b"\x00" * 100_000
    async with lamp_of(gateway, device, token) as camera:
        await camera.until(type="welcome")
        await camera.socket.send(picture)
        await camera.send("event", name="still-there")
        for _ in range(5):
            with contextlib.suppress(Exception):
                await camera.socket.send(picture)
        assert await camera.closed() == (4008, "too many bytes")


async def test_what_waits_for_one_that_does_not_read_has_an_end(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, waiting_bytes=200_000, bytes_per_s=2**24))
    device, token = await fleet.add("porch")
    async with raw(gateway.port, takes_bytes=4_096) as deaf, lamp_of(gateway, device, token) as lamp:
        await lamp.until(type="welcome")
        await deaf.upgrade("/watch")
        await deaf.write(frame(TEXT, b'{"type":"watch","devices":"*"}'))
        assert json.loads((await deaf.frame()).payload)["type"] == "watching"
        deaf.deaf()
        for _ in range(150):
            await lamp.send("event", name="noise", text="x" * 3_000)
            await asyncio.sleep(0.01)
        await fleet.publish(68)
        await lamp.until(level=68)

        async def gone() -> bool:
            return not [one for one in asyncio.all_tasks() if one.get_name() == "introduce a viewer"]

        await wait_until(gone)
        deaf.hear()
        # What the kernel held, and then nothing.
        got = 0
        with contextlib.suppress(ConnectionError):
            while data := await asyncio.wait_for(deaf.reader.read(65_536), 30):
                got += len(data)
        assert got < 450_000


# Guessing


async def guess(gateway: Gateway, device_id: str, source: str = "127.0.0.1") -> tuple[int, str]:
    async with dialled(gateway, local_addr=(source, 0)) as lamp:
        await lamp.send("hello", protocol=1, id=device_id, token=new_token())
        return await lamp.closed()


async def test_who_guesses_has_to_wait_and_nobody_else_has(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    codes = [(await guess(gateway, device.id))[0] for _ in range(AT_ONCE + 3)]
    assert codes[:AT_ONCE] == [4001] * AT_ONCE
    code, reason = await guess(gateway, device.id)
    assert code == 1013
    assert 0 < (retry_after_ms(reason) or 0) <= 6_000
    # The right token comes in from the same address, and so do guessers from elsewhere (once more).
    async with lamp_of(gateway, device, token) as lamp:
        assert (await lamp.receive())["type"] == "welcome"
    assert (await guess(gateway, device.id, "127.0.0.2"))[0] == 4001


async def test_ids_are_guessed_no_better_than_tokens(fleet: Fleet, gateway: Gateway) -> None:
    codes = [(await guess(gateway, f"{number:012x}"))[0] for number in range(AT_ONCE + 2)]
    assert codes[0] == 4004
    assert codes[-1] == 1013


async def test_a_device_that_is_registered_while_its_address_has_to_wait_comes_in(
    fleet: Fleet, gateway: Gateway
) -> None:
    for number in range(AT_ONCE + 1):
        await guess(gateway, f"{number:012x}")
    device, token = await fleet.add("porch", 77)

    async def welcomed() -> bool:
        async with lamp_of(gateway, device, token) as lamp:
            with contextlib.suppress(Exception):
                return bool((await lamp.receive())["type"] == "welcome")
        return False

    await wait_until(welcomed)


async def test_a_viewer_who_guesses_has_to_wait_too(fleet: Fleet, start: Start) -> None:
    gateway = await start(host="127.0.0.1")
    from espfleet.services import tokens

    token = await tokens.add(fleet.store, name="laptop", role="viewer", now_ms=1)
    codes = []
    for _ in range(AT_ONCE + 2):
        async with dialled(gateway, "/watch") as viewer:
            await viewer.send("watch", token=new_token(), devices="*")
            codes.append((await viewer.closed())[0])
    assert (codes[0], codes[-1]) == (4001, 1013)
    async with dialled(gateway, "/watch") as viewer:
        await viewer.send("watch", token=token, devices="*")
        await viewer.until(type="watching")


# Slow ones


async def test_a_request_that_drips_in_is_ended_and_costs_the_others_nothing(fleet: Fleet, start: Start) -> None:
    gateway = await start(replace(FEW, handshake_ms=700))
    device, token = await fleet.add("porch")
    async with AsyncExitStack() as stack:
        lamp: Lamp = await stack.enter_async_context(lamp_of(gateway, device, token))
        await lamp.until(type="welcome")
        drips = [await stack.enter_async_context(raw(gateway.port)) for _ in range(20)]
        for byte in request()[:30]:
            for drip in drips:
                await drip.write(bytes([byte]))
            await asyncio.sleep(0.005)
        await fleet.publish(69)
        await lamp.until(level=69)
        answers = await asyncio.gather(*(drip.answer() for drip in drips))
        assert {re.match(r"HTTP/1.1 (\d+)", answer)[1] for answer in answers} == {"408"}  # type: ignore[index]


async def test_a_header_that_never_ends_is_refused(fleet: Fleet, gateway: Gateway) -> None:
    async with raw(gateway.port) as bomb:
        await bomb.write(b"GET /lamp HTTP/1.1\r\n" + b"X-Bomb: " + b"x" * 20_000)
        assert (await bomb.answer()).startswith("HTTP/1.1 431 ")


async def test_binary_from_a_lamp_ends_it(fleet: Fleet, gateway: Gateway) -> None:
    device, token = await fleet.add("porch")
    async with raw(gateway.port) as link:
        await mute(link, device, token)
        await link.write(frame(BINARY, struct.pack("!Q", 1)))
        assert await link.close_code() == 4003


# Settings


@pytest.mark.parametrize(
    ("connections", "most", "taken", "told"),
    [
        (50_000, sys.maxsize, 50_000, 256),
        (50_000, 65_536, 50_000, 256),
        (50_000, 20_000, 19_840, 32),
        (100, 300, 100, 32),
        (50_000, 64, 1, 32),
    ],
)
def test_where_open_files_are_few_a_gateway_takes_fewer_connections(
    connections: int, most: int, taken: int, told: int
) -> None:
    limits = within_files(Limits(connections=connections), most)
    assert limits == Limits(connections=taken, told=told)


def test_each_cap_can_be_set(tmp_path: Path) -> None:
    kept = {"hello_ms", "ping_ms", "linger_ms", "told"}
    names = {one.name for one in fields(Limits)} - kept
    values = {f"GATEWAY_{name.upper()}": str(70_000 + number) for number, name in enumerate(sorted(names))}
    limits = limits_of(read_settings(values, tmp_path))
    assert {name: getattr(limits, name) for name in names} == {
        name: 70_000 + number for number, name in enumerate(sorted(names))
    }


def test_what_is_not_set_is_what_a_gateway_takes_by_itself(tmp_path: Path) -> None:
    assert limits_of(read_settings({}, tmp_path)) == Limits()

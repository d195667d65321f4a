"""Cameras and viewers of S4 work unchanged, but for their token: it is asked for before anything is taken."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from espfleet.domain.devices import Presence
from espfleet.domain.messages import BINARY_BYTES
from espfleet.domain.pictures import MAGIC
from espfleet.domain.tokens import hash_token
from espfleet.gateway.server import Limits
from espfleet.store import commands, pictures, presence, tags, visits
from espfleet.store.registry import Change
from tests.conftest import wait_until
from tests.gateway.conftest import QUICK, Device, Dialect, Fleet, Gateway, Kind, Lamp, Start, dialled, running
from tests.gateway.raw import BINARY, CLOSE, TEXT, frame, raw

CAMERA: dict[str, Any] = {"dialect": Dialect.HUB, "kinds": (Kind.CAMERA,)}
#: What S4's cameras send, field for field.
TAG = {
    "smartcam_ip": "192.0.2.9", "tag_id": 5, "yaw": 1.5, "pitch": -2.25, "roll": 0.0, "x_cm": 1.0, "y_cm": 2.0,
    "z_cm": 60.5, "tag_size_percent": 12.5, "distance_cm": 61.2, "timestamp": 123456, "camera_name": "cam-1",
}  # fmt: skip
GREETING = {"event": "connection_success", "message": "WebSocket connected - send identify event"}
JPEG = MAGIC + b"\xc0\x00\x0b\x08\x00\xf0\x01\x40\x01\x01\x22\x00" + bytes(2_000) + b"\xff\xd9"


async def say(client: Lamp, event: str, **fields: Any) -> None:
    await client.socket.send(json.dumps({"event": event, **fields}))


async def identify(client: Lamp, token: str, kind: str = "esp32") -> None:
    await say(client, "identify", data={"type": kind, "device": "ESP32S3_CAM", "auth_token": token})


@asynccontextmanager
async def camera_of(gateway: Gateway, token: str) -> AsyncIterator[Lamp]:
    async with dialled(gateway, "/websocket") as client:
        assert await client.receive() == GREETING
        await identify(client, token)
        assert await client.receive() == {"event": "identify_success", "client_type": "esp32"}
        yield client


@asynccontextmanager
async def viewer_of(gateway: Gateway, path: str = "/websocket") -> AsyncIterator[Lamp]:
    async with dialled(gateway, path) as client:
        assert await client.receive() == GREETING
        await say(client, "identify", data={"type": "gdevelop", "name": "game"})
        assert await client.receive() == {"event": "identify_success", "client_type": "gdevelop"}
        yield client


@pytest.fixture
async def camera(fleet: Fleet) -> tuple[Device, str]:
    return await fleet.add("cam-1", 1, **CAMERA)


async def newest(fleet: Fleet, device: Device) -> bytes | None:
    found = await pictures.newest(fleet.store, device.id)
    return found.data if found else None


async def test_what_a_camera_recognises_reaches_viewers_in_the_same_flat_form(
    gateway: Gateway, camera: tuple[Device, str]
) -> None:
    async with viewer_of(gateway) as viewer, camera_of(gateway, camera[1]) as cam:
        before_s = time.time()
        await say(cam, "apriltag_data", **TAG)
        assert await cam.receive() == {"event": "apriltag_ack", "status": "received"}
        told = await viewer.receive()
        assert before_s - 1 <= told.pop("server_timestamp") <= time.time() + 1
        assert told == {"event": "apriltag_data", **TAG}


async def test_the_older_nested_form_is_understood_and_told_flat(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with viewer_of(gateway) as viewer, camera_of(gateway, camera[1]) as cam:
        await say(cam, "apriltag_data", data=TAG)
        assert (await viewer.receive())["tag_id"] == 5


async def test_viewers_at_another_gateway_hear_it_too(fleet: Fleet, start: Start, camera: tuple[Device, str]) -> None:
    first, second = await start(name="one"), await start(name="two")
    async with viewer_of(second) as viewer, camera_of(first, camera[1]) as cam:
        await say(cam, "apriltag_data", **TAG)
        assert (await viewer.receive())["tag_id"] == 5


async def test_viewers_of_protocol_1_hear_it_as_an_event(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with dialled(gateway, "/watch") as viewer, camera_of(gateway, camera[1]) as cam:
        await viewer.send("watch", devices=["cam-1"])
        await viewer.until(type="presence", presence="live")
        await say(cam, "apriltag_data", **TAG)
        told = await viewer.until(type="event")
        assert (told["name"], told["event"], told["fields"]) == ("cam-1", "apriltag_data", TAG)


async def test_the_latest_is_told_on_request_and_at_first(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with viewer_of(gateway) as viewer:
        await say(viewer, "request_latest_data")
        assert await viewer.receive() == {"event": "no_data_available"}
        async with camera_of(gateway, camera[1]) as cam:
            await say(cam, "apriltag_data", **TAG)
            told = await viewer.until(event="apriltag_data")
        await say(viewer, "request_latest_data")
        assert await viewer.receive() == told
        async with viewer_of(gateway) as late:
            assert await late.receive() == told


async def test_a_gateway_that_starts_later_knows_the_latest(
    fleet: Fleet, start: Start, camera: tuple[Device, str]
) -> None:
    await tags.put(fleet.store, tags.Tag(camera[0].id, TAG, 1_763_670_000_123))
    async with viewer_of(await start()) as viewer:
        assert await viewer.receive() == {"event": "apriltag_data", **TAG, "server_timestamp": 1_763_670_000.123}


async def test_a_viewer_may_begin_by_asking(gateway: Gateway) -> None:
    async with dialled(gateway, "/websocket") as viewer:
        assert await viewer.receive() == GREETING
        await say(viewer, "request_latest_data")
        assert await viewer.receive() == {"event": "no_data_available"}


async def test_pings_are_answered_with_the_time(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with viewer_of(gateway) as viewer, camera_of(gateway, camera[1]) as cam, dialled(
        gateway, "/websocket"
    ) as stranger:  # fmt: skip
        assert await stranger.receive() == GREETING
        for client in (viewer, cam, stranger):
            await say(client, "ping")
            told = await client.until(event="pong")
            assert abs(told["timestamp"] - time.time()) < 60


# --- the token comes first


@pytest.mark.parametrize(
    ("token", "error"), [("", "Missing auth_token"), ("not the token", "Invalid auth_token")], ids=["none", "wrong"]
)
async def test_a_camera_without_its_token_is_sent_away(
    gateway: Gateway, camera: tuple[Device, str], token: str, error: str
) -> None:
    async with dialled(gateway, "/websocket") as cam:
        assert await cam.receive() == GREETING
        await identify(cam, token)
        assert await cam.receive() == {
            "event": "auth_failed",
            "error": error,
            "message": "Authentication required - check your auth_token",
        }
        assert await cam.closed() == (4001, error)


async def test_nothing_is_taken_from_whoever_has_shown_no_token(
    fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]
) -> None:
    async with viewer_of(gateway) as viewer:
        for data in (json.dumps({"event": "apriltag_data", **TAG}), JPEG):
            async with dialled(gateway, "/websocket") as cam:
                await cam.receive()
                await cam.socket.send(data)
                assert (await cam.receive())["event"] == "auth_failed"
                assert await cam.closed() == (4001, "Missing auth_token")
        # What follows a wrong token in the same packet is not taken either.
        async with raw(gateway.port) as link:
            await link.upgrade("/websocket")
            hello = {"event": "identify", "data": {"type": "esp32", "auth_token": "wrong"}}
            tag = {"event": "apriltag_data", **TAG}
            await link.write(frame(TEXT, json.dumps(hello).encode()) + frame(TEXT, json.dumps(tag).encode()))
            assert await link.close_code() == 4001
        await say(viewer, "request_latest_data")
        assert await viewer.receive() == {"event": "no_data_available"}
    assert await newest(fleet, camera[0]) is None


async def test_the_token_of_another_kind_of_device_opens_nothing(fleet: Fleet, gateway: Gateway) -> None:
    _, token = await fleet.add("porch", 2)
    async with dialled(gateway, "/websocket") as cam:
        await cam.receive()
        await identify(cam, token)
        assert (await cam.receive())["error"] == "Invalid auth_token"


async def test_a_camera_that_was_registered_a_moment_ago_comes_in(fleet: Fleet, gateway: Gateway) -> None:
    _, token = await fleet.add("cam-2", 2, **CAMERA)
    async with camera_of(gateway, token) as cam:
        await say(cam, "ping")
        assert (await cam.receive())["event"] == "pong"


async def test_viewers_need_a_token_as_soon_as_the_fleet_has_one(fleet: Fleet, gateway: Gateway) -> None:
    async with viewer_of(gateway) as early:
        await fleet.change(Change("tokens", hash_token("secret"), {"name": "game", "role": "viewer"}))
        assert await early.closed() == (4001, "a viewer must show its token")
    async with dialled(gateway, "/websocket") as viewer:
        await viewer.receive()
        await say(viewer, "identify", data={"type": "gdevelop", "name": "game"})
        assert (await viewer.receive())["event"] == "auth_failed"
        assert await viewer.closed() == (4001, "a viewer must show its token")
    async with viewer_of(gateway, "/websocket?token=secret"):
        pass
    # A page of anywhere may connect if it shows one: no browser adds that by itself.
    async with dialled(gateway, "/websocket?token=secret", origin="https://game.example") as viewer:
        assert await viewer.receive() == GREETING


async def test_a_token_that_is_taken_back_ends_the_session(
    fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]
) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        await fleet.put(device, token_hashes=())
        assert (await cam.closed())[0] == 4001


async def test_who_says_nothing_is_sent_away(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(hello_ms=200))
    async with dialled(gateway, "/websocket") as client:
        assert await client.receive() == GREETING
        assert (await client.closed())[0] == 4003


# --- pictures


async def test_pictures_are_stored_the_newest_wins(fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        for number in range(30):
            await cam.socket.send(JPEG + bytes([number]))

        async def done() -> bool:
            return await newest(fleet, device) == JPEG + bytes([29])

        await wait_until(done)
    video = await pictures.video(fleet.store, device.id)
    assert video.total == 30
    assert video.size == (320, 240)
    # What was replaced before anybody could see it is counted.
    assert len(video.arrivals) == min(30 - video.dropped, 21)


async def test_several_cameras_send_at_once(fleet: Fleet, gateway: Gateway) -> None:
    cameras = [await fleet.add(f"cam-{number}", number, **CAMERA) for number in range(1, 5)]
    async with camera_of(gateway, cameras[0][1]) as a, camera_of(gateway, cameras[1][1]) as b, camera_of(
        gateway, cameras[2][1]
    ) as c, camera_of(gateway, cameras[3][1]) as d:  # fmt: skip
        for number, cam in enumerate((a, b, c, d)):
            await cam.socket.send(JPEG + bytes([number]))
        for number, (device, _) in enumerate(cameras):

            async def seen(device: Device = device, number: int = number) -> bool:
                return await newest(fleet, device) == JPEG + bytes([number])

            await wait_until(seen)


async def test_a_picture_over_a_mebibyte_is_refused(fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        await cam.socket.send(JPEG.ljust(BINARY_BYTES, b"\0"))

        async def stored() -> bool:
            return await newest(fleet, device) is not None

        await wait_until(stored)
        await cam.socket.send(JPEG.ljust(BINARY_BYTES + 1, b"\0"))
        assert (await cam.closed())[0] == 1009


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n" + bytes(500), b"<svg/>", b"\0" * 3_000])
async def test_what_is_no_jpeg_is_refused(
    fleet: Fleet, gateway: Gateway, camera: tuple[Device, str], data: bytes
) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        await cam.socket.send(data)
        code, reason = await cam.closed()
        assert (code, "JPEG" in reason) == (4003, True)
    assert await newest(fleet, device) is None


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 4003),
        ("[]", 4003),
        ("{'event': 'ping'}", 4003),
        ('{"event": 5}', 4003),
        ('{"event":"apriltag_data","tag_id":[1]}', 4003),
        ('{"event":"apriltag_data","yaw":NaN}', 4003),
        ('{"event":"x","y":"' + "z" * 5_000 + '"}', 4008),
        ("[" * 4_000, 4003),
    ],
)
async def test_garbage_ends_the_session_and_harms_nobody_else(
    gateway: Gateway, camera: tuple[Device, str], text: str, code: int
) -> None:
    async with viewer_of(gateway) as viewer:
        async with camera_of(gateway, camera[1]) as cam:
            await cam.socket.send(text)
            assert (await cam.closed())[0] == code
        await say(viewer, "ping")
        assert (await viewer.until(event="pong"))["event"] == "pong"


async def test_what_is_unknown_is_ignored(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with camera_of(gateway, camera[1]) as cam:
        for event in ("video_frame", "identify", "no_such_event", "event_FromGDevelop"):
            await say(cam, event, data={})
        await say(cam, "ping")
        assert (await cam.receive())["event"] == "pong"


async def test_a_flood_is_cut_with_its_code(gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with raw(gateway.port) as link:
        await link.upgrade("/websocket")
        hello = {"event": "identify", "data": {"type": "esp32", "auth_token": camera[1]}}
        await link.write(frame(TEXT, json.dumps(hello).encode()))
        await link.write(frame(TEXT, b'{"event":"nothing"}') * 500)
        closing = await link.control()
        while closing.opcode != CLOSE:
            closing = await link.control()
        assert (closing.close_code, closing.close_reason) == (4008, "too many messages")


async def test_a_picture_in_pieces_is_put_together(fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]) -> None:
    async with raw(gateway.port) as link:
        await link.upgrade("/websocket")
        hello = {"event": "identify", "data": {"type": "esp32", "auth_token": camera[1]}}
        await link.write(frame(TEXT, json.dumps(hello).encode()))
        assert [json.loads((await link.frame()).payload)["event"] for _ in range(2)][1] == "identify_success"
        await link.write(frame(BINARY, JPEG[:900], fin=False) + frame(0, JPEG[900:]))

        async def stored() -> bool:
            return await newest(fleet, camera[0]) == JPEG

        await wait_until(stored)


async def test_a_viewer_may_send_no_pictures(gateway: Gateway) -> None:
    async with viewer_of(gateway) as viewer:
        await viewer.socket.send(JPEG)
        assert (await viewer.closed())[0] == 4003


async def test_a_camera_is_told_its_interval(fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        told = {"action": "video_interval", "arguments": {"interval_ms": 500}}
        assert (await commands.send(fleet.store, device.id, told) or {})["ok"] is True
        assert await cam.receive() == {"event": "set_video_interval", "interval_ms": 500}
        for wrong in ({"action": "video_interval", "arguments": {"interval_ms": 50}}, {"action": "reboot"}):
            refused = await commands.send(fleet.store, device.id, wrong) or {}
            assert (refused["ok"], refused["error"]) == (False, "cam-1 speaks hub, which has no command for that")


async def test_a_viewer_that_does_not_read_is_cut_and_harms_nobody(fleet: Fleet, start: Start) -> None:
    gateway = await start(Limits(blocked_ms=300, linger_ms=200, messages_per_s=100_000))
    _, token = await fleet.add("cam-1", 1, **CAMERA)
    big = {f"field_{number}": "x" * 60 for number in range(30)}
    async with raw(gateway.port, takes_bytes=4_096) as link, camera_of(gateway, token) as cam:
        await link.upgrade("/websocket")
        await link.write(frame(TEXT, b'{"event":"identify","data":{"type":"gdevelop"}}'))
        await link.frame()
        await link.frame()
        link.deaf()

        # For more than a second.
        for _ in range(60):
            await say(cam, "apriltag_data", **big)
            assert (await cam.until(event="apriltag_ack"))["status"] == "received"
            await asyncio.sleep(0.02)
        link.hear()
        async with asyncio.timeout(30):
            with contextlib.suppress(ConnectionResetError):
                while await link.reader.read(65_536):
                    pass


# --- who is there


async def test_a_camera_that_sends_seldom_stays_live_and_one_that_is_killed_goes_offline_with_its_history(
    fleet: Fleet, start: Start
) -> None:
    gateway = await start(**{**QUICK, "watchdog_ms": 1_500})
    device, token = await fleet.add("cam-1", 1, **CAMERA)

    async def state() -> Presence:
        return (await presence.read_presence(fleet.store, [device.id]))[device.id].presence

    async with camera_of(gateway, token) as cam:
        # It answers pings of the protocol only, as the libraries of cameras do by themselves.
        listening = asyncio.create_task(cam.quiet(2.0))
        await listening
        assert await state() is Presence.LIVE
        cam.socket.transport.abort()

        async def offline() -> bool:
            return await state() is Presence.OFFLINE

        await wait_until(offline)
    [visit] = await visits.read(fleet.store, device.id)
    assert visit.went_ms - visit.came_ms >= 1_000


async def test_a_camera_that_is_a_lamp_too_is_shown_levels(fleet: Fleet, gateway: Gateway) -> None:
    _, token = await fleet.add("cam-1", 1, dialect=Dialect.HUB, kinds=(Kind.CAMERA, Kind.LAMP))
    async with camera_of(gateway, token) as cam:
        assert await cam.receive() == {"event": "level", "level": 10, "state": "ok", "lease_ms": 1500}
        await fleet.publish(93)
        assert (await cam.until(level=93))["event"] == "level"


async def test_a_camera_that_becomes_a_lamp_is_shown_levels_at_once(
    fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]
) -> None:
    device, token = camera
    async with camera_of(gateway, token) as cam:
        await fleet.put(device, kinds=(Kind.CAMERA, Kind.LAMP))
        assert (await cam.until(event="level"))["level"] == 10
        await fleet.put(device, kinds=(Kind.CAMERA,))
        assert (await cam.until(event="identify_success"))["client_type"] == "esp32"
        await fleet.publish(93)
        with pytest.raises(TimeoutError):
            await cam.until(0.8, event="level")


async def test_a_camera_that_is_no_lamp_is_told_no_levels(
    fleet: Fleet, gateway: Gateway, camera: tuple[Device, str]
) -> None:
    async with camera_of(gateway, camera[1]) as cam, running(say(cam, "video_frame")):
        await fleet.publish(93)
        with pytest.raises(TimeoutError):
            await cam.receive(0.8)

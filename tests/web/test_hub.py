"""S4's addresses: what devices post, what is told of their pictures and visits, and who may do what."""

from __future__ import annotations

import asyncio
import http.client
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import requests

from espfleet.domain.devices import Dialect, Kind, Reason
from espfleet.domain.messages import BINARY_BYTES
from espfleet.domain.video import Arrival
from espfleet.services import devices, tokens
from espfleet.simulator.jpegs import encode, scene
from espfleet.store import pictures, presence, tags
from espfleet.store.client import Store
from espfleet.store.presence import Session
from espfleet.web import hub_posts
from espfleet.web.settings import Limits
from tests.conftest import wait_until
from tests.gateway.conftest import Fleet
from tests.own_time import own_s
from tests.web.serving import Web, serving

TAG = {
    "tag_id": 5, "decision_margin": 61.5, "yaw": 1.5, "pitch": -2.25, "roll": 0.0, "x_cm": 1.0, "y_cm": 2.0,
    "z_cm": 60.5, "range_cm": 61.2, "timestamp": 123456, "camera_name": "cam-1", "smartcam_ip": "192.0.2.9",
}  # fmt: skip
JPEG = encode(scene(1, 0.0, columns=4, rows=3))
IMAGE = {"Content-Type": "image/jpeg"}
#: Within so long what has ended ends everywhere (docs/promises.md).
PROMISED_S = 1.0


class Camera:
    def __init__(self, device_id: str, name: str, token: str) -> None:
        self.id, self.name = device_id, name
        self.header = {"Authorization": token}


async def camera(store: Store, number: int = 1) -> Camera:
    done = await devices.register(
        store, device_id=f"0c000000000{number}", name=f"cam-{number}", now_ms=1, dialect=Dialect.HUB
    )
    assert done.token is not None
    assert done.device.kinds == (Kind.CAMERA,)
    return Camera(done.device.id, done.device.name, done.token)


@pytest.fixture
async def cam(store: Store) -> Camera:
    return await camera(store)


async def post_tag(web: Web, cam: Camera, **more: Any) -> requests.Response:
    return await web.send("POST", "/apriltag", json=TAG, headers=cam.header, **more)


# --- what devices post


async def test_a_tag_is_received_told_to_viewers_and_answered_with_the_level(
    store: Store, web: Web, cam: Camera
) -> None:
    answer = await post_tag(web, cam)
    assert (answer.status_code, answer.json()) == (
        200,
        {"status": "received", "event": "apriltag_ack", "level": 50, "state": "unknown"},
    )
    found = await tags.latest(store)
    assert found is not None
    assert (found.device_id, dict(found.fields)) == (cam.id, TAG)


async def test_the_answer_carries_the_level_that_a_lamp_would_show(store: Store, web: Web, cam: Camera) -> None:
    fleet = Fleet(store)
    await fleet.set_up({"hall": "wan"})
    await devices.move(store, name="cam-1", room="hall")
    await fleet.publish(37)
    told = (await post_tag(web, cam)).json()
    assert (told["level"], told["state"]) == (37, "ok")


@pytest.mark.parametrize("header", [{}, {"Authorization": ""}, {"Authorization": "Bearer "}])
async def test_without_a_token_nothing_is_taken(store: Store, web: Web, cam: Camera, header: dict[str, str]) -> None:
    for path in ("/apriltag", "/photo", hub_posts.OLD_PICTURES):
        answer = await web.send("POST", path, data=JPEG, headers=header)
        assert (answer.status_code, answer.json()) == (401, {"error": "Missing auth_token"})
    assert await tags.latest(store) is None


async def test_a_wrong_token_is_refused_in_the_words_of_s4(store: Store, web: Web, cam: Camera) -> None:
    admin = await tokens.add(store, name="me", role="viewer", now_ms=1)
    for token in ("wrong", "Bearer wrong", admin):
        answer = await web.send("POST", "/apriltag", json=TAG, headers={"Authorization": token})
        assert (answer.status_code, answer.json()) == (401, {"error": "Invalid auth_token"})
    assert await tags.latest(store) is None


async def test_the_token_may_stand_after_bearer_too(web: Web, cam: Camera) -> None:
    header = {"Authorization": f"Bearer {cam.header['Authorization']}"}
    assert (await web.send("POST", "/apriltag", json=TAG, headers=header)).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"[" * 4_000, b"\xff\xfe"])
async def test_what_is_no_json_object_is_refused_in_the_words_of_s4(web: Web, cam: Camera, body: bytes) -> None:
    answer = await web.send("POST", "/apriltag", data=body, headers=cam.header)
    assert (answer.status_code, answer.json()) == (400, {"error": "No JSON body"})


async def test_a_tag_with_a_bad_field_is_refused(web: Web, cam: Camera) -> None:
    for body in ({"tag_id": [1]}, {}, {"a": "x" * 100}):
        answer = await web.send("POST", "/apriltag", json=body, headers=cam.header)
        assert answer.status_code == 400, body


async def test_a_picture_is_taken_by_either_address(store: Store, web: Web, cam: Camera) -> None:
    for path in ("/photo", hub_posts.OLD_PICTURES):
        answer = await web.send("POST", path, data=JPEG, headers={**cam.header, **IMAGE})
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["status"], told["size"], told["state"]) == ("success", len(JPEG), "unknown")
    found = await pictures.newest(store, cam.id)
    assert found is not None
    assert found.data == JPEG


async def test_only_cameras_may_post_pictures_but_any_device_may_post_a_tag(store: Store, web: Web) -> None:
    done = await devices.register(store, device_id="0c0000000009", name="porch", now_ms=1)
    porch = Camera(done.device.id, "porch", done.token or "")
    assert (await post_tag(web, porch)).status_code == 200
    answer = await web.send("POST", "/photo", data=JPEG, headers=porch.header)
    assert (answer.status_code, "not a camera" in answer.json()["error"]) == (400, True)


async def test_what_is_no_picture_or_too_big_is_refused(store: Store, web: Web, cam: Camera) -> None:
    assert (await web.send("POST", "/photo", data=b"GIF89a", headers=cam.header)).status_code == 400
    whole = JPEG.ljust(BINARY_BYTES, b"\0")
    assert (await web.send("POST", "/photo", data=whole, headers=cam.header)).status_code == 200
    assert (await _send_raw(web, cam, BINARY_BYTES + 1)).startswith("HTTP/1.1 413 ")
    assert (await web.send("POST", "/apriltag", data=b" " * 5_000, headers=cam.header)).status_code == 413


async def _send_raw(web: Web, cam: Camera, size: int) -> str:
    """Post so many bytes, as far as they are taken; return the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    head = f"POST /photo HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {cam.header['Authorization']}\r\n"
    writer.write(f"{head}Content-Length: {size}\r\n\r\n".encode() + JPEG.ljust(size, b"\0"))
    try:
        async with asyncio.timeout(30):
            return (await reader.readuntil(b"\r\n\r\n")).decode()
    finally:
        writer.transport.abort()


async def test_the_token_is_looked_at_before_the_body_comes(web: Web, cam: Camera) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
    writer.write(b"POST /photo HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: wrong\r\nContent-Length: 1000000\r\n\r\n")
    async with asyncio.timeout(30):
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 401 ")
    writer.transport.abort()


async def test_a_body_that_does_not_come_is_not_waited_for(store: Store, cam: Camera) -> None:
    async with serving(store, limits=Limits(body_ms=2_000)) as web:
        reader, writer = await asyncio.open_connection("127.0.0.1", web.port)
        head = f"POST /photo HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {cam.header['Authorization']}\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\n".encode() + b"\xff\xd8")
        async with asyncio.timeout(30):
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 408 ")
        writer.transport.abort()


async def test_who_posts_is_there(store: Store, web: Web, cam: Camera) -> None:
    assert (await web.get("/connection_uptime"))["connected"] is False
    for _ in range(3):
        await post_tag(web, cam)
    uptime = await web.get("/connection_uptime")
    assert uptime["connected"] is True
    assert re.fullmatch(r"\d+s", uptime["uptime_formatted"])
    # It came once, however often it posts.
    assert (await web.get("/connection_history"))["total_sessions"] == 0
    assert (await web.get("/status"))["websocket"]["esp32_connected"] is True


# --- what is told


async def test_without_a_camera_or_with_several_one_must_be_named(store: Store, web: Web) -> None:
    for path in ("/video_fps", "/video_stats", "/connection_uptime", "/connection_history", "/photo", "/video.mjpeg"):
        told = await web.get(path, 404)
        assert (told["code"], "no camera is registered" in told["detail"]) == ("camera_wanted", True)
    first, second = await camera(store, 1), await camera(store, 2)
    told = await web.get("/video_fps", 404)
    assert told["detail"] == "there are several cameras: add ?device= with one of cam-1, cam-2"
    for name in (first.name, second.id):
        assert (await web.get(f"/video_fps?device={name}"))["fps"] == 0.0
    assert (await web.get("/video_fps?device=cam-3", 404))["nearest"] == ["cam-2", "cam-1"]


async def test_cameras_are_listed(store: Store, web: Web, cam: Camera) -> None:
    await devices.register(store, device_id="0c0000000009", name="porch", now_ms=1)
    assert await web.get("/api/cameras") == [
        {"name": "cam-1", "id": cam.id, "room": "default", "presence": "offline"},
    ]


async def test_the_newest_picture_is_shown_with_its_age(store: Store, web: Web, cam: Camera) -> None:
    answer = await web.send("GET", "/photo")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/plain; charset=utf-8")
    await pictures.put(store, cam.id, JPEG, Arrival(time.time(), len(JPEG), 0.1))
    answer = await web.send("GET", "/photo?device=cam-1&t=123")
    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/jpeg", JPEG)
    assert re.fullmatch(r"\d+\.\ds", answer.headers["x-frame-age"])
    assert "no-store" in answer.headers["cache-control"]


async def test_figures_have_the_shapes_of_s4(store: Store, web: Web, cam: Camera) -> None:
    for number in range(21):
        await pictures.put(store, cam.id, JPEG, Arrival(1_000 + number / 4, 20_000 + number, 2.5))
    assert await web.get("/video_fps") == {
        "fps": 4.0, "target_fps": 4.0, "interval_ms": 250, "width": 32, "height": 24, "resolution": "32x24",
    }  # fmt: skip
    assert await web.get("/video_stats") == {
        "avg_interval": 0.25, "min_interval": 0.25, "max_interval": 0.25, "jitter": 0.0, "avg_fps": 4.0,
        "target_fps": 4.0, "avg_size": 20_010, "min_size": 20_001, "max_size": 20_020, "avg_processing": 2.5,
        "max_processing": 2.5, "total_frames": 21, "dropped_frames": 0, "efficiency": 100.0,
        "recommendation": "OPTIMAL", "current_fps": 4.0, "width": 32, "height": 24, "resolution": "32x24",
    }  # fmt: skip


async def test_a_camera_that_was_killed_is_offline_with_its_history(store: Store, web: Web, cam: Camera) -> None:
    await presence.came(store, cam.id, Session(session_id="g/1", gateway="g", watchdog_ms=2_000))
    assert (await web.get("/connection_uptime"))["connected"] is True

    async def swept() -> bool:
        return bool(await presence.sweep(store, await presence.times(store)))

    await wait_until(swept)
    assert await web.get("/connection_uptime") == {
        "connected": False, "uptime_seconds": 0, "uptime_formatted": "Not connected",
        "days": 0, "hours": 0, "minutes": 0, "seconds": 0,
    }  # fmt: skip
    await presence.came(store, cam.id, Session(session_id="g/2", gateway="g", watchdog_ms=60_000))
    await presence.went(store, cam.id, "g/2", Reason.CLOSED)
    told = await web.get("/connection_history")
    assert (told["total_sessions"], len(told["sessions"])) == (2, 2)
    first, second = told["sessions"]
    assert first["connect_timestamp"] < second["connect_timestamp"]
    assert list(first) == [
        "connect_time", "connect_timestamp", "disconnect_time", "disconnect_timestamp", "duration_seconds",
        "duration_formatted", "status",
    ]  # fmt: skip
    assert first["status"] == "disconnected"
    for text in (first["connect_time"], told["server_start_time"]):
        assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", text)


async def test_status_has_the_shape_of_s4(web: Web) -> None:
    told = await web.get("/status")
    assert told.pop("uptime_seconds") >= 0
    assert told == {
        "server": "online",
        "protocol": "websockets_async",
        "websocket": {"active_connections": 0, "esp32_connected": False, "gdevelop_clients": 0},
    }


async def test_an_interval_out_of_range_or_for_nobody_is_refused_as_s4_does(web: Web, cam: Camera) -> None:
    for interval_ms in (99, 10_001):
        answer = await web.send("POST", "/set_video_interval", json={"interval_ms": interval_ms})
        assert (answer.status_code, answer.json()["status"]) == (400, "error")
    answer = await web.send("POST", "/set_video_interval", json={"interval_ms": 500})
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "error", "message": "ESP32 not connected", "detail": "cam-1 cannot be told: never seen",
    }  # fmt: skip


# --- the stream


class Reader:
    """Reads a stream as a browser does."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int, header: str = "") -> Reader:
        # What the kernel may hold for one that does not read is kept small.
        link = socket.socket()
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        link.setblocking(False)
        await asyncio.get_running_loop().sock_connect(link, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=link, limit=4_096)
        writer.write(f"GET /video.mjpeg HTTP/1.0\r\nHost: 127.0.0.1\r\n{header}\r\n".encode())
        return cls(reader, writer)

    async def head(self) -> str:
        async with asyncio.timeout(30):
            return (await self._reader.readuntil(b"\r\n\r\n")).decode()

    async def picture(self) -> bytes:
        async with asyncio.timeout(30):
            head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
            assert "--espfleet-picture\r\nContent-Type: image/jpeg\r\n" in head
            length = int(re.findall(r"Content-Length: (\d+)", head)[0])
            data = await self._reader.readexactly(length)
            assert await self._reader.readexactly(2) == b"\r\n"
            return data

    async def rest(self) -> bytes:
        async with asyncio.timeout(30):
            return await self._reader.read()

    def close(self) -> None:
        self._writer.transport.abort()


def picture(number: int, size: int = 2_000) -> bytes:
    return JPEG[:-2] + b"%06d" % number + bytes(size) + JPEG[-2:]


async def put(store: Store, cam: Camera, data: bytes) -> None:
    await pictures.put(store, cam.id, data, Arrival(time.time(), len(data), 0.1))


async def test_the_stream_begins_with_the_newest_and_goes_on(store: Store, web: Web, cam: Camera) -> None:
    await put(store, cam, picture(0))
    readers = [await Reader.open(web.port) for _ in range(3)]
    for reader in readers:
        head = await reader.head()
        assert head.startswith("HTTP/1.1 200 ")
        assert "multipart/x-mixed-replace; boundary=espfleet-picture" in head
        assert await reader.picture() == picture(0)
    for number in range(1, 6):
        await put(store, cam, picture(number))
        for reader in readers:
            assert await reader.picture() == picture(number)
    for reader in readers:
        reader.close()


@pytest.fixture
async def patient(store: Store) -> AsyncIterator[Web]:
    """A web server that cuts nobody who takes nothing."""
    async with serving(store, limits=Limits(blocked_ms=120_000)) as running:
        yield running


async def test_only_the_slow_reader_misses_pictures_and_then_gets_the_newest(
    store: Store, patient: Web, cam: Camera
) -> None:
    await put(store, cam, picture(0))
    quick, slow = await Reader.open(patient.port), await Reader.open(patient.port)
    for reader in (quick, slow):
        await reader.head()
        await reader.picture()
    count = 60
    for number in range(1, count + 1):
        await put(store, cam, picture(number, 200_000))
        assert await quick.picture() == picture(number, 200_000)
    got = [await slow.picture()]
    while got[-1] != picture(count, 200_000):
        got.append(await slow.picture())
    assert len(got) < count
    for reader in (quick, slow):
        reader.close()


async def test_a_reader_that_takes_nothing_is_cut(store: Store, cam: Camera) -> None:
    async with serving(store, limits=Limits(blocked_ms=300)) as web:
        await put(store, cam, picture(0))
        stuck = await Reader.open(web.port)
        await stuck.head()
        await stuck.picture()
        began_s = own_s()
        # More than the kernel holds for it, for longer than it may take nothing.
        while own_s() - began_s < 1.5:
            await put(store, cam, picture(1, 900_000))
            await asyncio.sleep(0.02)
        # Its stream has ended: of what comes after that it gets nothing.
        await put(store, cam, picture(2))
        assert picture(2) not in await stuck.rest()
        stuck.close()


async def test_two_web_servers_show_the_same_camera(store: Store, web: Web, cam: Camera) -> None:
    async with serving(store) as other:
        readers = [await Reader.open(one.port) for one in (web, other)]
        await put(store, cam, picture(7))
        for reader in readers:
            await reader.head()
            assert await reader.picture() == picture(7)
            reader.close()


# --- who may do what


async def test_looking_takes_a_viewer_telling_an_operator_and_posting_the_devices_own_token(
    store: Store, web: Web, cam: Camera
) -> None:
    await put(store, cam, picture(1))
    await tokens.add(store, name="me", role="admin", now_ms=1)
    viewer = {"Authorization": f"Bearer {await tokens.add(store, name='screen', role='viewer', now_ms=1)}"}
    paths = ("/status", "/video_fps", "/video_stats", "/connection_uptime", "/connection_history", "/photo",
             "/video.mjpeg", "/api/cameras")  # fmt: skip
    for path in paths:
        assert (await web.send("GET", path)).status_code == 401, path
        # A camera may not look at what others see.
        assert (await web.send("GET", path, headers=cam.header)).status_code == 401, path
    for path in paths:
        if path != "/video.mjpeg":
            assert (await web.send("GET", path, headers=viewer)).status_code == 200, path
    wish = {"json": {"interval_ms": 500}, "headers": viewer}
    assert (await web.send("POST", "/set_video_interval", **wish)).status_code == 403
    assert (await post_tag(web, cam)).status_code == 200


async def test_a_stream_ends_at_once_when_its_token_does_also_while_no_picture_comes(
    store: Store, web: Web, cam: Camera
) -> None:
    await put(store, cam, picture(1))
    await tokens.add(store, name="me", role="admin", now_ms=1)
    token = await tokens.add(store, name="screen", role="viewer", now_ms=1)
    reader = await Reader.open(web.port, f"Authorization: Bearer {token}\r\n")
    await reader.head()
    assert await reader.picture() == picture(1)
    other = await tokens.add(store, name="hall", role="viewer", now_ms=1)
    stays = await Reader.open(web.port, f"Authorization: Bearer {other}\r\n")
    await stays.head()
    assert await stays.picture() == picture(1)
    # More than the change of another token is needed to end it.
    await tokens.rotate(store, name="me", now_ms=2)
    began_s = own_s()
    await tokens.remove(store, name="screen")
    assert await reader.rest() == b""
    assert own_s() - began_s < PROMISED_S
    await put(store, cam, picture(2))
    assert await stays.picture() == picture(2)
    for one in (reader, stays):
        one.close()


async def test_the_page_needs_no_token_and_takes_nothing_from_elsewhere(web: Web) -> None:
    answer = await web.send("GET", "/video")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"(?:src|href)=\"https?:", answer.text)


async def test_an_answer_to_a_refused_post_ends_the_connection(web: Web) -> None:
    def ask() -> str | None:
        link = http.client.HTTPConnection("127.0.0.1", web.port, timeout=30)
        link.request("POST", "/apriltag", json.dumps(TAG))
        answer = link.getresponse()
        answer.read()
        link.close()
        return answer.headers["connection"]

    assert await asyncio.to_thread(ask) == "close"

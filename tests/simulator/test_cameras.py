"""Simulated cameras: their pictures are pictures, and they do what S4's cameras do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from espfleet.domain.apriltags import check_tag
from espfleet.domain.pictures import check_picture, size_of
from espfleet.simulator.camera import Camera, hub_url
from espfleet.simulator.jpegs import encode, scene
from tests.conftest import wait_until


def test_a_scene_becomes_a_picture_of_its_size_and_moves() -> None:
    first, later = (encode(scene(1, at_s)) for at_s in (0.0, 1.0))
    for data in (first, later):
        check_picture(data)
        assert size_of(data) == (320, 240)
        assert data.endswith(b"\xff\xd9")
    assert first != later
    assert encode(scene(2, 0.0)) != first


@pytest.mark.parametrize("block", [(0, 0, 0), (255, 255, 255), (0, 255, 0), (128, 128, 128)])
def test_every_value_can_be_written_also_next_to_the_farthest(block: tuple[int, int, int]) -> None:
    other = (255 - block[0], 255 - block[1], 255 - block[2])
    check_picture(encode([[block, other, block]]))


class Hub:
    """What S4's hub is to its cameras."""

    def __init__(self) -> None:
        self.identified: list[dict[str, str]] = []
        self.pictures: list[bytes] = []
        self.tags: list[dict[str, object]] = []
        self.links: list[ServerConnection] = []
        self.good = "right"

    async def serve(self, link: ServerConnection) -> None:
        self.links.append(link)
        await link.send('{"event":"connection_success","message":"WebSocket connected - send identify event"}')
        with suppress(ConnectionClosed):
            async for message in link:
                if isinstance(message, bytes):
                    self.pictures.append(message)
                    continue
                told = json.loads(message)
                if told["event"] == "identify":
                    self.identified.append(told["data"])
                    good = told["data"]["auth_token"] == self.good
                    answer = {"event": "identify_success"} if good else {"event": "auth_failed", "error": "Invalid"}
                    await link.send(json.dumps(answer))
                else:
                    self.tags.append(told)
                    await link.send('{"event":"apriltag_ack","status":"received"}')


@pytest.fixture
async def hub() -> AsyncIterator[tuple[Hub, str]]:
    one = Hub()
    async with serve(one.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield one, hub_url(f"ws://127.0.0.1:{port}/lamp")


async def run(camera: Camera) -> None:
    await camera.run()


async def test_it_identifies_then_sends_pictures_and_tags_and_obeys(hub: tuple[Hub, str]) -> None:
    there, url = hub
    camera = Camera(url, name="cam-1", token="right")
    running = asyncio.create_task(run(camera))
    try:
        await wait_until(lambda: there.pictures and there.tags)
        assert there.identified == [{"type": "esp32", "device": "cam-1", "auth_token": "right"}]
        assert size_of(there.pictures[0]) == (320, 240)
        assert check_tag(there.tags[0])["camera_name"] == "cam-1"
        await there.links[0].send('{"event":"set_video_interval","interval_ms":100}')
        await wait_until(lambda: camera.interval_ms == 100)
        count = len(there.pictures)
        await wait_until(lambda: len(there.pictures) >= count + 5)
        # It comes back by itself.
        there.links[0].transport.abort()
        await wait_until(lambda: len(there.identified) == 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_without_the_right_token_it_sends_nothing(hub: tuple[Hub, str]) -> None:
    there, url = hub
    camera = Camera(url, name="cam-1", token="wrong")
    running = asyncio.create_task(run(camera))
    try:
        await wait_until(lambda: camera.error == "Invalid")
        assert not there.pictures
        assert not there.tags
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

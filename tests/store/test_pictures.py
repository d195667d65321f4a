"""Pictures of cameras: the newest of each, what is counted, and seeing them as they come."""

from __future__ import annotations

import asyncio

import pytest

from espfleet.domain.shards import shard_of
from espfleet.domain.video import ARRIVALS, Arrival
from espfleet.store import pictures, presence
from espfleet.store.client import Store
from tests.conftest import wait_until

CAMERA = "0c0000000001"
#: The beginning of a picture of 320 x 240.
JPEG = bytes.fromhex("ffd8ffc0000b08 00f0 0140 01012200".replace(" ", ""))


async def test_the_newest_picture_wins(store: Store) -> None:
    assert await pictures.newest(store, CAMERA) is None
    for data in (JPEG + b"1", JPEG + b"2"):
        await pictures.put(store, CAMERA, data, Arrival(1.0, len(data), 0.1))
    found = await pictures.newest(store, CAMERA)
    assert found is not None
    assert found.data == JPEG + b"2"
    assert 0 <= found.age_ms < 60_000


async def test_arrivals_are_bounded_and_pictures_are_counted(store: Store) -> None:
    for number in range(40):
        await pictures.put(store, CAMERA, JPEG, Arrival(100 + number / 10, 1_000 + number, 1.5), dropped=number % 2)
    video = await pictures.video(store, CAMERA)
    assert len(video.arrivals) == ARRIVALS
    assert video.arrivals[-1] == Arrival(103.9, 1_039, 1.5)
    assert (video.total, video.dropped, video.size) == (60, 20, (320, 240))
    assert round(video.fps, 3) == 10


async def test_the_interval_that_was_told_is_remembered(store: Store) -> None:
    await pictures.want_interval(store, CAMERA, 500)
    assert (await pictures.video(store, CAMERA)).wanted_ms == 500


async def test_who_follows_sees_the_newest_at_once_and_then_each(store: Store) -> None:
    await pictures.put(store, CAMERA, JPEG + b"old", Arrival(1, 1, 1))
    following = pictures.follow(store, CAMERA)
    async with asyncio.timeout(30):
        assert await anext(following) == JPEG + b"old"
        for number in range(3):
            await pictures.put(store, CAMERA, JPEG + bytes([number]), Arrival(1, 1, 1))
        assert [await anext(following) for _ in range(3)] == [JPEG + bytes([number]) for number in range(3)]
    await following.aclose()


@pytest.mark.single
async def test_who_follows_goes_on_after_a_broken_connection(store: Store) -> None:
    following = pictures.follow(store, CAMERA)
    waiting = asyncio.ensure_future(anext(following))
    channel = store.keys.pictures_channel(shard_of(CAMERA, store.shards), CAMERA)

    async def followed() -> bool:
        _, count = await store.do("PUBSUB", "SHARDNUMSUB", channel)
        return bool(count)

    await wait_until(followed)
    await store.do("CLIENT", "KILL", "TYPE", "pubsub")
    await pictures.put(store, CAMERA, JPEG + b"after", Arrival(1, 1, 1))
    async with asyncio.timeout(60):
        assert await waiting == JPEG + b"after"
    await following.aclose()


async def test_a_camera_that_is_unregistered_leaves_no_picture(store: Store) -> None:
    await pictures.put(store, CAMERA, JPEG, Arrival(1, 1, 1))
    await presence.forget(store, CAMERA)
    part = shard_of(CAMERA, store.shards)
    keys = store.keys
    assert not await store.do("EXISTS", keys.picture(part, CAMERA), keys.video(part, CAMERA))

"""Pictures of cameras: the newest of each, how they arrive, and a way to see them as they come."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from espfleet.domain.pictures import Size, size_of
from espfleet.domain.shards import shard_of
from espfleet.domain.video import ARRIVALS, Arrival, Video
from espfleet.errors import StoreError
from espfleet.store.client import Store
from espfleet.store.link import ChannelsMovedError, linked, owners

logger = logging.getLogger(__name__)

PICTURE_TTL_MS = 600_000
ARRIVALS_TTL_MS = 60_000
VIDEO_TTL_MS = 24 * 3_600_000
RETRY_S = 0.5
#: A connection without a picture for so long is asked whether it lives.
SILENCE_S = 5.0


@dataclass(frozen=True, slots=True)
class Picture:
    """The newest picture of a camera, and how old it is."""

    data: bytes
    age_ms: int


async def put(store: Store, device_id: str, data: bytes, arrival: Arrival, dropped: int = 0) -> None:
    """Store the newest picture of a camera and tell it to all who look: one write.

    Args:
        store: Where the fleet is kept.
        device_id: Which camera.
        data: A whole JPEG.
        arrival: When it came, and what it took.
        dropped: How many pictures this one replaced before they could be stored.
    """
    part, keys = shard_of(device_id, store.shards), store.keys
    size = size_of(data)
    await store.run(
        "put_picture",
        [keys.picture(part, device_id), keys.video(part, device_id), keys.arrivals(part, device_id)],
        [
            keys.pictures_channel(part, device_id),
            data,
            PICTURE_TTL_MS,
            VIDEO_TTL_MS,
            ARRIVALS_TTL_MS,
            f"{arrival.at_s:.6f} {arrival.size_bytes} {arrival.taken_ms:.3f}",
            ARRIVALS,
            dropped,
            "x".join(map(str, size)) if size else "",
        ],
    )


async def newest(store: Store, device_id: str) -> Picture | None:
    """Return the newest picture of a camera, or ``None`` if there was none in the last ten minutes."""
    key = store.keys.picture(shard_of(device_id, store.shards), device_id)
    data, left_ms = await store.do_all([("GET", key), ("PTTL", key)])
    return None if data is None else Picture(data, max(PICTURE_TTL_MS - left_ms, 0))


async def video(store: Store, device_id: str) -> Video:
    """Return how pictures of a camera arrive."""
    part = shard_of(device_id, store.shards)
    fields, rows = await store.do_all(
        [
            ("HGETALL", store.keys.video(part, device_id)),
            ("LRANGE", store.keys.arrivals(part, device_id), 0, ARRIVALS - 1),
        ]
    )
    wanted_ms = fields.get(b"wanted_ms")
    return Video(
        arrivals=[_arrival(row) for row in reversed(rows)],
        total=int(fields.get(b"total", 0)),
        dropped=int(fields.get(b"dropped", 0)),
        size=_size(fields.get(b"size", b"")),
        wanted_ms=int(wanted_ms) if wanted_ms else None,
    )


async def want_interval(store: Store, device_id: str, interval_ms: int) -> None:
    """Remember which interval a camera was told, as long as its counts."""
    key = store.keys.video(shard_of(device_id, store.shards), device_id)
    await store.do_all([("HSET", key, "wanted_ms", interval_ms), ("PEXPIRE", key, VIDEO_TTL_MS)])


async def follow(store: Store, device_id: str) -> AsyncGenerator[bytes, None]:
    """Yield the newest picture of a camera and then each as it comes, for ever; while Redis is away nothing comes."""
    channel = store.keys.pictures_channel(shard_of(device_id, store.shards), device_id)
    away = False
    while True:
        try:
            (server,) = await owners(store, [channel])
            async with linked(store, [channel], server, SILENCE_S) as link:
                picture = await newest(store, device_id)
                away = False
                # After a break it may be one that was seen already.
                if picture is not None:
                    yield picture.data
                while True:
                    heard = await link.next(SILENCE_S)
                    if heard is not None:
                        yield heard.data
                    elif time.monotonic() - link.heard_s >= SILENCE_S:
                        await link.check()
        except ChannelsMovedError as exc:
            logger.debug("pictures are followed elsewhere: %s", exc)
            await asyncio.sleep(RETRY_S)
        except StoreError as exc:
            if not away:
                logger.warning("pictures cannot be followed: %s", exc)
            away = True
            await asyncio.sleep(RETRY_S)


def _arrival(row: bytes) -> Arrival:
    at_s, size_bytes, taken_ms = row.split()
    return Arrival(float(at_s), int(size_bytes), float(taken_ms))


def _size(text: bytes) -> Size | None:
    width, cross, height = text.partition(b"x")
    return (int(width), int(height)) if cross else None

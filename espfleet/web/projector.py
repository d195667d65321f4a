"""Pictures of cameras on their way to browsers, as a stream (MJPEG) in which only slow readers miss some.

Each camera that somebody looks at is followed once in this process, and each picture is made into a part of the stream
once for all readers. A reader gets the newest when it has taken the one before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from espfleet.store import pictures
from espfleet.store.client import Store

BOUNDARY = "espfleet-picture"


@dataclass(slots=True, eq=False)
class Reel:
    """The newest picture of a camera that somebody looks at.

    Attributes:
        part: The picture as a part of the stream.
        number: Counts the pictures.
        readers: Wakes each who looks.
        task: Follows the camera.
    """

    part: bytes = b""
    number: int = 0
    readers: set[asyncio.Event] = field(default_factory=set)
    task: asyncio.Task[None] | None = None


class Projector:
    """Shows cameras to all who look in this process.

    Attributes:
        missed: Pictures that slow readers did not get.
    """

    def __init__(self, store: Store) -> None:
        self.missed = 0
        self._store = store
        self._reels: dict[str, Reel] = {}
        self._closed = False

    async def read(self, device_id: str) -> AsyncGenerator[bytes, None]:
        """Yield parts of the stream of a camera: each the newest there is."""
        reel = self._reels.get(device_id)
        if reel is None:
            reel = self._reels[device_id] = Reel()
            reel.task = asyncio.create_task(self._follow(device_id, reel), name=f"pictures of {device_id}")
        waiting, seen = asyncio.Event(), 0
        reel.readers.add(waiting)
        try:
            while not self._closed:
                if reel.number == seen:
                    waiting.clear()
                    await waiting.wait()
                    continue
                self.missed += reel.number - seen - 1 if seen else 0
                seen = reel.number
                yield reel.part
        finally:
            reel.readers.discard(waiting)
            if not reel.readers and self._reels.get(device_id) is reel:
                del self._reels[device_id]
                if reel.task is not None:
                    reel.task.cancel()

    async def run(self) -> None:
        """Wait until cancelled; all streams end then."""
        try:
            await asyncio.Event().wait()
        finally:
            self._closed = True
            for reel in list(self._reels.values()):
                if reel.task is not None:
                    reel.task.cancel()
                for reader in reel.readers:
                    reader.set()

    async def _follow(self, device_id: str, reel: Reel) -> None:
        async for data in pictures.follow(self._store, device_id):
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
            reel.part = b"".join((head.encode(), data, b"\r\n"))
            reel.number += 1
            for reader in reel.readers:
                reader.set()

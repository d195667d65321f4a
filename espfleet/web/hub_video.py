"""Pictures of cameras: the newest, and a stream of them (MJPEG) in which only slow readers miss some.

Each camera that somebody looks at is followed once in this process, and each picture is made into a part of the stream
once for all readers. A reader gets the newest when it has taken the one before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from fastapi import APIRouter, Response
from fastapi.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from espfleet.errors import RefusedError
from espfleet.services import cameras
from espfleet.store import pictures
from espfleet.store.client import Store
from espfleet.web.access import VIEWER
from espfleet.web.context import Here
from espfleet.web.hub import Which

logger = logging.getLogger(__name__)

BOUNDARY = "espfleet-picture"
MOST_READERS = 200
#: A reader that takes nothing for so long is cut.
STUCK_S = 5.0
_NO_STORE = {"Cache-Control": "no-store, no-cache, must-revalidate, max-age=0", "Pragma": "no-cache"}

router = APIRouter(tags=["hub"], dependencies=[VIEWER])


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

    @property
    def readers(self) -> int:
        """How many are looking."""
        return sum(len(reel.readers) for reel in self._reels.values())

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


class VideoResponse(Response):
    """Sends the stream of a camera until the reader goes or gets stuck."""

    media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"

    def __init__(self, projector: Projector, device_id: str) -> None:
        super().__init__(headers={**_NO_STORE, "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._projector = projector
        self._device_id = device_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request."""
        del scope
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.create_task(self._send(send), name="video reader")
        gone = asyncio.create_task(_until_gone(receive), name="video reader gone")
        try:
            await asyncio.wait({sending, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _send(self, send: Send) -> None:
        stream = self._projector.read(self._device_id)
        try:
            async for part in stream:
                async with asyncio.timeout(STUCK_S):
                    await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            logger.info("a reader of video took nothing for %g s: it is cut", STUCK_S)
        finally:
            await stream.aclose()


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


@router.get(
    "/photo",
    response_class=Response,
    responses={200: {"content": {"image/jpeg": {}}}, 404: {"description": "no picture came in the last ten minutes"}},
)
async def newest_photo(here: Here, device: Which = "") -> Response:
    """Show the newest picture of a camera; `X-Frame-Age` says how old it is."""
    camera = await cameras.find(here.store, name=device)
    picture = await pictures.newest(here.store, camera.id)
    if picture is None:
        return PlainTextResponse(f"no picture of {camera.name} came in the last ten minutes\n", 404, _NO_STORE)
    headers = {**_NO_STORE, "X-Frame-Age": f"{picture.age_ms / 1_000:.1f}s"}
    return Response(picture.data, media_type="image/jpeg", headers=headers)


@router.get(
    "/video.mjpeg",
    response_class=Response,
    responses={200: {"content": {"multipart/x-mixed-replace": {}}}},
)
async def video_stream(here: Here, device: Which = "") -> Response:
    """Show the pictures of a camera as they come, for as long as the reader takes them."""
    camera = await cameras.find(here.store, name=device)
    if here.projector.readers >= MOST_READERS:
        raise RefusedError("too many are looking already")
    return VideoResponse(here.projector, camera.id)

"""Pictures of cameras over HTTP: the newest, and a stream of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from starlette.types import Send

from espfleet.services import cameras
from espfleet.store import pictures
from espfleet.web.access import VIEWER, role_of
from espfleet.web.context import Here
from espfleet.web.endless import Audience, EndlessResponse, send_end
from espfleet.web.hub import Which
from espfleet.web.live import Live
from espfleet.web.projector import BOUNDARY, Projector

logger = logging.getLogger(__name__)

_NO_STORE = {"Cache-Control": "no-store, no-cache, must-revalidate, max-age=0", "Pragma": "no-cache"}

router = APIRouter(tags=["hub"], dependencies=[VIEWER])


class VideoResponse(EndlessResponse):
    """Sends the stream of a camera until the reader goes, gets stuck, or may not look any more."""

    media_type = f"multipart/x-mixed-replace; boundary={BOUNDARY}"

    def __init__(
        self,
        audience: Audience,
        projector: Projector,
        device_id: str,
        live: Live,
        check: Callable[[], Awaitable[object]],
        blocked_ms: int,
    ) -> None:
        super().__init__(audience, {**_NO_STORE, "X-Accel-Buffering": "no"}, live, check, blocked_ms)
        self._projector = projector
        self._device_id = device_id

    async def send_all(self, send: Send) -> None:
        """Send pictures as they come."""
        stream = self._projector.read(self._device_id)
        try:
            async for part in stream:
                await self.send_part(send, part)
            await send_end(send)
        except TimeoutError:
            logger.info("a reader of video took nothing for %g s: it is cut", self.blocked_s)
        finally:
            await stream.aclose()


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
async def video_stream(here: Here, request: Request, device: Which = "") -> Response:
    """Show the pictures of a camera as they come, for as long as the reader takes them."""
    camera = await cameras.find(here.store, name=device)
    blocked_ms = here.settings.limits.blocked_ms
    return VideoResponse(
        here.video_audience, here.projector, camera.id, here.live, lambda: role_of(request, here), blocked_ms
    )

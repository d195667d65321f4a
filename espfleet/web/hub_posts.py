"""What devices post: AprilTags and pictures.

The token is checked before the body is read. Each answer carries the present level, so that a device without a socket
can be a lamp too.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from espfleet.domain.devices import Device
from espfleet.domain.hub_messages import ACK, INVALID_TOKEN, MISSING_TOKEN
from espfleet.domain.messages import BINARY_BYTES, TEXT_BYTES
from espfleet.domain.states import GroupLevel
from espfleet.domain.tokens import hash_token
from espfleet.errors import InvalidError
from espfleet.services import cameras
from espfleet.web.context import Context, Here

#: S4's cameras post pictures here; its name is longer than what it does.
OLD_PICTURES = "/client_e32__http_post_to_serverhub__smartcam_video_stream"
#: Requests whose body nobody may read before their token is known.
PATHS = ("/apriltag", "/photo", OLD_PICTURES)
_FAILURES: dict[int | str, dict[str, Any]] = {
    400: {"description": "Not usable"},
    401: {"description": "The token is missing or wrong"},
    408: {"description": "The body did not come in time"},
    413: {"description": "Too big"},
}
_HEADER = {
    "name": "Authorization",
    "in": "header",
    "required": True,
    "description": "the device's token, alone or after `Bearer`",
    "schema": {"type": "string"},
}

router = APIRouter(tags=["hub"])


@router.post(
    "/apriltag",
    responses=_FAILURES,
    openapi_extra={
        "parameters": [_HEADER],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": {"tag_id": 5, "yaw": 1.5, "x_cm": 20.0}}
            },
        },
    },
)
async def apriltag(here: Here, request: Request) -> JSONResponse:
    """Take what a device recognised and tell it to viewers."""
    device = await _sender(here, request)
    if not isinstance(device, Device):
        return device
    body = await _body(here, request, TEXT_BYTES)
    if not isinstance(body, bytes):
        return body
    try:
        values = json.loads(body)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        return _refusal(400, "No JSON body")
    try:
        level = await cameras.recognised(here.store, device, values=values, now_ms=here.clock())
    except InvalidError as exc:
        return _refusal(400, str(exc))
    return JSONResponse({"status": ACK["status"], "event": ACK["event"], **_told(level)})


_PICTURE: dict[str, Any] = {
    "parameters": [_HEADER],
    "requestBody": {
        "required": True,
        "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary", "maxLength": BINARY_BYTES}}},
    },
}


@router.post("/photo", responses=_FAILURES, openapi_extra=_PICTURE)
@router.post(OLD_PICTURES, responses=_FAILURES, openapi_extra=_PICTURE)
async def photo(here: Here, request: Request) -> JSONResponse:
    """Take a picture of a camera: a whole JPEG of at most 1 MiB."""
    device = await _sender(here, request)
    if not isinstance(device, Device):
        return device
    began_s = time.monotonic()
    body = await _body(here, request, BINARY_BYTES)
    if not isinstance(body, bytes):
        return body
    taken_ms = (time.monotonic() - began_s) * 1_000
    try:
        level = await cameras.pictured(here.store, device, data=body, now_ms=here.clock(), taken_ms=taken_ms)
    except InvalidError as exc:
        return _refusal(400, str(exc))
    return JSONResponse({"status": "success", "size": len(body), **_told(level)})


async def _sender(here: Context, request: Request) -> Device | JSONResponse:
    """Return who posts, by its token; S4's cameras show it alone, others after ``Bearer``."""
    given = request.headers.get("authorization", "").strip()
    scheme, _, rest = given.partition(" ")
    token = rest.strip() if scheme.lower() == "bearer" else given
    if not token:
        return _refusal(401, MISSING_TOKEN)
    host, mark = request.client.host if request.client else "", hash_token(token)
    here.attempts.check(host, mark)
    device = await cameras.sender(here.store, token=token)
    here.attempts.note(host, mark, good=device is not None)
    return _refusal(401, INVALID_TOKEN) if device is None else device


async def _body(here: Context, request: Request, most: int) -> bytes | JSONResponse:
    """Return what was posted, unless it is too big or takes too long."""
    parts: list[bytes] = []
    size = 0
    try:
        # Told before the guard of all requests cuts its connection.
        async with asyncio.timeout(here.settings.limits.body_ms / 2_000):
            async for part in request.stream():
                size += len(part)
                if size > most:
                    return _refusal(413, f"a request may have {most} bytes here")
                parts.append(part)
    except TimeoutError:
        return _refusal(408, "the body did not come in time")
    return b"".join(parts)


def _refusal(status: int, error: str) -> JSONResponse:
    # What is still to come of the body is not read: the connection cannot be used again.
    return JSONResponse({"error": error}, status, {"Connection": "close"})


def _told(level: GroupLevel) -> dict[str, Any]:
    return {"level": level.level, "state": level.state.value}

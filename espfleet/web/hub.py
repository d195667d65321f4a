"""S4's addresses, with its very shapes: how its cameras are there, and how their pictures arrive."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from espfleet.domain.video import INTERVAL_MS
from espfleet.domain.visits import date_text, uptime_fields
from espfleet.services import cameras
from espfleet.store import pictures, presence, registry
from espfleet.web.access import OPERATOR, VIEWER
from espfleet.web.context import Here

Which = Annotated[str, Query(max_length=64, description="name or id of a camera; not needed where there is one only")]

router = APIRouter(tags=["hub"], dependencies=[VIEWER])


@router.get("/api/cameras")
async def list_cameras(here: Here) -> list[dict[str, Any]]:
    """List cameras, by name."""
    current = await registry.latest(here.store)
    known = cameras.cameras_of(current)
    there = await presence.read_presence(here.store, [camera.id for camera in known])
    return [
        {"name": camera.name, "id": camera.id, "room": camera.room, "presence": there[camera.id].presence.value}
        for camera in known
    ]


@router.get("/status")
async def status(here: Here, device: Which = "") -> dict[str, Any]:
    """Say who is connected to the fleet's gateways."""
    asked = await cameras.find(here.store, name=device) if device else None
    found = await cameras.links(here.store, asked)
    return {
        "server": "online",
        "protocol": "websockets_async",
        "uptime_seconds": (here.clock() - here.started_ms) // 1_000,
        "websocket": {
            "active_connections": found.connections,
            "esp32_connected": found.camera,
            "gdevelop_clients": found.viewers,
        },
    }


@router.get("/video_fps")
async def video_fps(here: Here, device: Which = "") -> dict[str, Any]:
    """Say how many pictures a second arrive, and how many are aimed at."""
    camera = await cameras.find(here.store, name=device)
    return (await pictures.video(here.store, camera.id)).fps_fields()


@router.get("/video_stats")
async def video_stats(here: Here, device: Which = "") -> dict[str, Any]:
    """Say how well pictures arrive."""
    camera = await cameras.find(here.store, name=device)
    return (await pictures.video(here.store, camera.id)).stats_fields()


@router.get("/connection_uptime")
async def connection_uptime(here: Here, device: Which = "") -> dict[str, Any]:
    """Say for how long a camera has been there without a break."""
    camera = await cameras.find(here.store, name=device)
    return uptime_fields((await cameras.connected(here.store, camera, now_ms=here.clock())).up_s)


@router.get("/connection_history")
async def connection_history(here: Here, device: Which = "") -> dict[str, Any]:
    """List when a camera was there before: the last 20 times, oldest first, in UTC."""
    camera = await cameras.find(here.store, name=device)
    found = (await cameras.connected(here.store, camera, now_ms=here.clock())).visits
    return {
        "sessions": [visit.fields() for visit in found],
        "total_sessions": len(found),
        "server_start_time": date_text(here.started_ms),
    }


class Interval(BaseModel):
    """How often to send a picture; S4's page sends it as a number."""

    interval_ms: int = 1_000


@router.post(
    "/set_video_interval",
    dependencies=[OPERATOR],
    responses={400: {"description": "out of range"}, 503: {"description": "the camera is not there"}},
)
async def set_video_interval(here: Here, wish: Interval, device: Which = "") -> JSONResponse:
    """Tell a camera how often to send a picture: every 100 to 10,000 ms."""
    low, high = INTERVAL_MS
    if not low <= wish.interval_ms <= high:
        message = f"interval_ms must be from {low} to {high}"
        return JSONResponse({"status": "error", "message": message}, 400)
    told = await cameras.set_interval(here.store, name=device, interval_ms=wish.interval_ms, now_ms=here.clock())
    if not told.ok:
        return JSONResponse({"status": "error", "message": "ESP32 not connected", "detail": told.error}, 503)
    fps = round(1_000 / wish.interval_ms, 2)
    return JSONResponse({"status": "success", "interval_ms": wish.interval_ms, "fps": fps})

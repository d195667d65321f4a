"""Firmware and secrets of a device, over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from espfleet.services import device_tokens, devices, updates
from espfleet.store import releases
from espfleet.web.access import ADMIN
from espfleet.web.context import Here
from espfleet.web.shapes import BoardToken, FirmwareWish

router = APIRouter(prefix="/devices/{name}", tags=["firmware"])


@router.get("/firmware")
async def show_firmware(here: Here, name: str) -> dict[str, Any]:
    """Show what firmware a device runs, and what became of its last update; `update` is null without one."""
    view = await devices.view(here.store, name=name, now_ms=here.clock())
    progress = await releases.get_progress(here.store, view.device.id)
    return {
        "name": view.device.name,
        "firmware": view.firmware,
        "chip": view.chip,
        "update": asdict(progress) if progress is not None else None,
    }


@router.post("/firmware", status_code=202, dependencies=[ADMIN])
async def update_firmware(here: Here, name: str, wish: FirmwareWish) -> dict[str, Any]:
    """Begin to put the program of this server onto a lamp, over its connection; `GET` tells how it goes."""
    # Unknown devices are refused before anything is compiled.
    await devices.view(here.store, name=name, now_ms=here.clock())
    release = await asyncio.to_thread(partial(updates.make_release, None, downgrade=wish.downgrade))
    device = await updates.offer(here.store, name=name, release=release, now_ms=here.clock())
    return {"name": device.name, "version": release.version}


@router.post("/token", status_code=201, dependencies=[ADMIN])
async def rotate_token(
    here: Here,
    name: str,
    response: Response,
    show: Annotated[bool, Query(description="tell it, this once, to be put there by hand")] = False,
) -> dict[str, str | None]:
    """Give a device another token over its link; the one before ends when the new one has been used."""
    if show:
        response.headers["Cache-Control"] = "no-store"
        device, token = await device_tokens.add(here.store, name=name)
        return {"name": device.name, "token": token}
    device = await device_tokens.rotate(here.store, name=name, now_ms=here.clock())
    return {"name": device.name, "token": None}


@router.put("/board_token", status_code=204, dependencies=[ADMIN])
async def set_board_token(here: Here, name: str, wish: BoardToken) -> None:
    """Keep what a device's own HTTP server wants to see; null if it wants what all boards do."""
    await devices.set_board_token(here.store, name=name, token=wish.token)

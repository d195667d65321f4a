"""Tokens of people, programs and screens, over HTTP: for admins."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from espfleet.services import tokens
from espfleet.web.access import ADMIN
from espfleet.web.context import Here
from espfleet.web.shapes import NewToken

router = APIRouter(prefix="/tokens", tags=["tokens"], dependencies=[ADMIN])


@router.get("")
async def list_tokens(here: Here) -> list[dict[str, Any]]:
    """List who has a token, and what it lets them do; never the token itself."""
    return [holder.to_dict() for holder in await tokens.holders(here.store)]


@router.post("", status_code=201)
async def add_token(here: Here, wish: NewToken, response: Response) -> dict[str, str]:
    """Make a token; it is told this once. `#/kiosk/TOKEN` is a link for a screen, of a viewer's token."""
    response.headers["Cache-Control"] = "no-store"
    token = await tokens.add(here.store, name=wish.name, role=wish.role.value, now_ms=here.clock())
    return {"name": wish.name, "role": wish.role.value, "token": token}


@router.post("/{name}/rotate", status_code=201)
async def rotate_token(
    here: Here,
    name: str,
    response: Response,
    keep_s: Annotated[float, Query(ge=0, le=2_592_000, description="how long the one before still holds")] = 86_400.0,
) -> dict[str, str]:
    """Make another token of this name; it is told this once."""
    response.headers["Cache-Control"] = "no-store"
    token = await tokens.rotate(here.store, name=name, now_ms=here.clock(), keep_s=keep_s)
    return {"name": name, "token": token}


@router.delete("/{name}", status_code=204)
async def remove_token(here: Here, name: str) -> None:
    """End a token; whoever looks at the live feed with it is sent away."""
    await tokens.remove(here.store, name=name)

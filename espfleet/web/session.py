"""Who I am: logging in with a token that a browser then keeps, and logging out."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from espfleet import __version__
from espfleet.errors import RefusedError
from espfleet.web.access import COOKIE, COOKIE_S, check_origin, forget_login, holder_of, presented, role_of
from espfleet.web.context import Context, Here
from espfleet.web.shapes import Login

#: Without a token: it tells nothing about the fleet.
router = APIRouter(prefix="/session", tags=["session"])


@router.get("")
async def session(here: Here, request: Request) -> dict[str, Any]:
    """Say what whoever asks may do; `role` is null where a token is wanted, `token` says whether one was shown."""
    return await who(here, request)


async def who(here: Context, request: Request) -> dict[str, Any]:
    """Return what whoever asks may do."""
    try:
        role: str | None = (await role_of(request, here)).value
    except RefusedError:
        role = None
    return {"role": role, "token": bool(presented(request)), "version": __version__}


@router.post("", responses={429: {"description": "Too many wrong tokens came from there"}})
async def log_in(here: Here, request: Request, wish: Login, response: Response) -> dict[str, Any]:
    """Keep a token in a cookie that scripts cannot read and other sites cannot use."""
    check_origin(request, here)
    holder = await holder_of(here, request, wish.token)
    response.set_cookie(
        COOKIE,
        wish.token,
        max_age=COOKIE_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return {"role": holder.role.value, "token": True, "version": __version__}


@router.delete("", status_code=204)
async def log_out(here: Here, request: Request, response: Response) -> None:
    """Forget the cookie."""
    check_origin(request, here)
    forget_login(response)

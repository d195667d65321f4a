"""Devices with pins, over HTTP: their state, visits, requests past the lock, and the lock itself."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path

from espfleet.errors import LockBusyError
from espfleet.services import boards, by_hand, requests
from espfleet.store import boards as stored
from espfleet.store import registry
from espfleet.web.access import OPERATOR
from espfleet.web.context import Here
from espfleet.web.shapes import LockWish, Question

router = APIRouter(prefix="/devices/{name}", tags=["boards"])
Purpose = Annotated[str, Path(pattern="^[a-z0-9_-]{1,32}$")]


@router.get("/state", dependencies=[OPERATOR])
async def ask_state(here: Here, name: str) -> dict[str, Any]:
    """Ask a device over HTTP, under its lock, for its pins and temperature; its pins are set as its jobs wish."""
    current = await registry.latest(here.store)
    done = await boards.visit(
        here.store, current, current.device(name), now_ms=here.clock(), token=here.settings.board_token
    )
    return asdict(done)


@router.post("/visit", dependencies=[OPERATOR])
async def visit(here: Here, name: str) -> dict[str, Any]:
    """Set the pins of a device as its jobs wish, by its link or over HTTP, and read its sensors."""
    current = await registry.latest(here.store)
    done = await boards.set_right(
        here.store, current, current.device(name), now_ms=here.clock(), token=here.settings.board_token
    )
    return asdict(done)


@router.get("/board")
async def show_board(here: Here, name: str) -> dict[str, Any] | None:
    """Show pins and temperature as they were at the last visit, and why the last one failed; null without any."""
    state = await stored.get(here.store, (await registry.latest(here.store)).device(name).id)
    return asdict(state) if state is not None else None


@router.post("/requests", dependencies=[OPERATOR])
async def ask(here: Here, name: str, wish: Question) -> dict[str, Any]:
    """Ask a board at once, past its lock; a job sets its pin as it wishes within one interval."""
    return await requests.ask(
        here.store, name=name, question=wish.question, arguments=wish.arguments, token=here.settings.board_token
    )


@router.put("/locks/{purpose}", status_code=204, dependencies=[OPERATOR])
async def lock(here: Here, name: str, purpose: Purpose, wish: LockWish) -> None:
    """Keep everybody else from talking to a device for a while."""
    if not await by_hand.lock(here.store, name=name, purpose=purpose, ttl_ms=wish.ttl_ms):
        raise LockBusyError(name)


@router.delete("/locks/{purpose}", dependencies=[OPERATOR])
async def unlock(here: Here, name: str, purpose: Purpose) -> dict[str, bool]:
    """Open a lock, whoever holds it; whoever does may then not store what it was told."""
    return {"was_locked": await by_hand.unlock(here.store, name=name, purpose=purpose)}

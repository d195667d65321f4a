"""The rest of what the command line does, over HTTP: the demo, what is taken over from elsewhere, metrics."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query

from espfleet.services import by_hand, figures, imports, simulated
from espfleet.store import audit, points
from espfleet.web.access import ADMIN
from espfleet.web.context import Here
from espfleet.web.shapes import PinglampValues

router = APIRouter(tags=["upkeep"])


@router.post("/demo", dependencies=[ADMIN])
async def add_demo(here: Here) -> dict[str, int]:
    """Add simulated targets, groups and rooms; doing it twice changes nothing. './espcli up' then runs the lamps."""
    return asdict(await simulated.add_demo(here.store))


@router.delete("/demo", dependencies=[ADMIN])
async def remove_demo(here: Here) -> dict[str, int]:
    """Remove everything that is simulated."""
    return asdict(await simulated.remove(here.store))


@router.post("/imports/pinglamp", dependencies=[ADMIN])
async def import_pinglamp(here: Here, wish: PinglampValues) -> dict[str, Any]:
    """Make targets and a group of the values of a PING_LAMP `.env`."""
    imported = imports.read_pinglamp(wish.values)
    await imports.take_over(here.store, imported)
    return {
        "targets": [target.name for target in imported.targets],
        "group": imported.group.name,
        "settings": list(imported.settings),
        "left_out": dict(imported.left_out),
    }


@router.get("/audit", dependencies=[ADMIN])
async def list_audit(here: Here, limit: Annotated[int, Query(ge=1, le=1_000)] = 100) -> list[dict[str, Any]]:
    """List who changed what, or told devices to do what, newest first."""
    return [
        {
            "id": entry.entry_id,
            "at_ms": entry.at_ms,
            **entry.actor.to_dict(),
            "action": entry.action,
            "details": dict(entry.details),
        }
        for entry in await audit.latest(here.store, limit)
    ]


@router.get("/metrics")
async def metrics(here: Here) -> list[dict[str, Any]]:
    """List the figures of this moment, as Datadog and Prometheus get them."""
    at_ms = here.clock()
    found = [
        *await figures.collect(here.store, now_ms=at_ms),
        *await figures.board_readings(here.store, now_ms=at_ms),
    ]
    return [{"name": one.name, "value": one.value, "at_s": one.at_s, "tags": list(one.tags)} for one in found]


@router.get("/outbox")
async def outbox(here: Here) -> dict[str, Any]:
    """Show the outbox of metrics: how much waits, what is being sent, and what nobody takes."""
    return {**await points.info(here.store), "pending": await points.pending(here.store)}


@router.delete("/outbox/{entry_id}", dependencies=[ADMIN])
async def give_up(here: Here, entry_id: Annotated[str, Path(pattern="^[0-9]{1,15}-[0-9]{1,15}$")]) -> dict[str, int]:
    """Give an entry of the outbox up: its metrics are not sent."""
    return {"acknowledged": await by_hand.give_up(here.store, entry_ids=[entry_id])}

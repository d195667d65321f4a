"""Whether this process lives, and whether the fleet can work: for supervisors."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from espfleet.errors import StoreError
from espfleet.store.levels import read_levels
from espfleet.web.context import Here

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that this process lives."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "Redis is away, or no leveler is running"}})
async def readyz(here: Here, response: Response) -> dict[str, Any]:
    """Say whether levels are fresh; 503 if not."""
    try:
        fresh = (await read_levels(here.store)).fresh_shards
    except StoreError:
        response.status_code = 503
        return {"status": "redis is away", "fresh_shards": 0, "shards": here.store.shards}
    whole = len(fresh) == here.store.shards
    if not whole:
        response.status_code = 503
    return {"status": "ok" if whole else "levels are stale", "fresh_shards": len(fresh), "shards": here.store.shards}

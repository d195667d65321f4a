"""Targets over HTTP, and what was measured of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query

from espfleet.domain.states import Band
from espfleet.services import samples, targets
from espfleet.web.access import ADMIN
from espfleet.web.context import Here
from espfleet.web.paging import After, Label, Limit, Page, Search, matches, page_of
from espfleet.web.rows import TargetRow, target_row
from espfleet.web.shapes import NewTarget, TargetEdit

router = APIRouter(prefix="/targets", tags=["targets"])


@router.get("")
async def list_targets(
    here: Here,
    group: Annotated[str, Query(max_length=64)] = "",
    state: Band | None = None,
    label: Label = "",
    q: Search = "",
    limit: Limit = 100,
    after: After = "",
) -> Page:
    """List targets: those of a group, of a colour, with a label, or that a search finds."""
    views = await targets.views(here.store)
    found = [
        view
        for view in views
        if matches(q, view.target.name, view.target.address, *view.target.labels)
        and (not group or group in view.groups)
        and (not label or label in view.target.labels)
        and (state is None or (view.summary is not None and view.summary.band is state))
    ]
    return page_of(found, lambda view: view.target.name, target_row, after, limit)


@router.post("", status_code=201, dependencies=[ADMIN])
async def add_target(here: Here, wish: NewTarget) -> TargetRow:
    """Begin to measure a host; doing it twice changes nothing."""
    await targets.add(
        here.store,
        name=wish.name,
        address=wish.address,
        group=wish.group,
        interval_ms=wish.interval_ms,
        timeout_ms=wish.timeout_ms,
        labels=wish.labels,
    )
    return await show_target(here, wish.name)


@router.get("/{name}")
async def show_target(here: Here, name: str) -> TargetRow:
    """Show one target."""
    return target_row(await targets.view(here.store, name=name))


@router.patch("/{name}", dependencies=[ADMIN])
async def edit_target(here: Here, name: str, wish: TargetEdit) -> TargetRow:
    """Change how a target is measured."""
    await targets.edit(
        here.store, name=name, address=wish.address, interval_ms=wish.interval_ms, timeout_ms=wish.timeout_ms
    )
    return await show_target(here, name)


@router.delete("/{name}", status_code=204, dependencies=[ADMIN])
async def remove_target(here: Here, name: str) -> None:
    """Stop measuring a target."""
    await targets.remove(here.store, name=name)


@router.get("/{name}/samples")
async def show_samples(
    here: Here,
    name: str,
    seconds: Annotated[int, Query(ge=10, le=108_000, description="how long")] = 180,
    resolution: Annotated[str, Query(pattern="^(1s|10s|1m)?$", description="without, what suits the span")] = "",
    until_ms: Annotated[int | None, Query(ge=0, le=2**53, description="where to end; without, now")] = None,
) -> dict[str, Any]:
    """Show what was measured: loss, least, quartiles and most of each step, in columns; `null` where there is none."""
    found = await samples.history(
        here.store, name=name, now_ms=here.clock(), span_ms=seconds * 1_000, resolution=resolution, until_ms=until_ms
    )
    return {
        "target": name,
        "from_ms": found.from_ms,
        "to_ms": found.to_ms,
        "step_ms": found.step_ms,
        "source": found.source,
        "at_ms": [point.at_ms for point in found.points],
        "count": [point.count for point in found.points],
        "lost": [point.lost for point in found.points],
        "least_ms": [point.least_ms for point in found.points],
        "low_ms": [point.low_ms for point in found.points],
        "median_ms": [point.median_ms for point in found.points],
        "high_ms": [point.high_ms for point in found.points],
        "most_ms": [point.most_ms for point in found.points],
    }

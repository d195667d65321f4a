"""Groups and their levels over HTTP."""

from __future__ import annotations

from fastapi import APIRouter

from espfleet.services import groups
from espfleet.web.access import ADMIN, OPERATOR
from espfleet.web.context import Here
from espfleet.web.paging import After, Label, Limit, Page, Search, matches, page_of
from espfleet.web.rows import GroupRow, group_row
from espfleet.web.shapes import GroupEdit, NewGroup

router = APIRouter(prefix="/groups", tags=["groups"])


@router.get("")
async def list_groups(here: Here, label: Label = "", q: Search = "", limit: Limit = 100, after: After = "") -> Page:
    """List groups, each with its present level."""
    views = await groups.views(here.store, now_ms=here.clock())
    found = [
        view
        for view in views
        if matches(q, view.group.name, *view.group.targets) and (not label or label in view.group.labels)
    ]
    return page_of(found, lambda view: view.group.name, group_row, after, limit)


@router.post("", status_code=201, dependencies=[ADMIN])
async def add_group(here: Here, wish: NewGroup) -> GroupRow:
    """Make a group; doing it twice changes nothing."""
    await groups.add(
        here.store,
        name=wish.name,
        targets=wish.targets,
        preset=wish.preset,
        combine=wish.combine,
        quorum=wish.quorum,
        labels=wish.labels,
    )
    return await show_group(here, wish.name)


@router.get("/{name}")
async def show_group(here: Here, name: str) -> GroupRow:
    """Show one group."""
    return group_row(await groups.view(here.store, name=name, now_ms=here.clock()))


@router.patch("/{name}", dependencies=[ADMIN])
async def edit_group(here: Here, name: str, wish: GroupEdit) -> GroupRow:
    """Change how a group judges, and what."""
    if wish.model_fields_set & {"preset", "combine", "quorum", "thresholds"}:
        await groups.edit(
            here.store,
            name=name,
            preset=wish.preset,
            combine=wish.combine,
            quorum=wish.quorum,
            thresholds=wish.thresholds,
        )
    if wish.include:
        await groups.include(here.store, name=name, targets=wish.include)
    if wish.exclude:
        await groups.exclude(here.store, name=name, targets=wish.exclude)
    if wish.paused is not None:
        await groups.pause(here.store, name=name, paused=wish.paused)
    return await show_group(here, name)


@router.post("/{name}/pause", dependencies=[OPERATOR])
async def pause_group(here: Here, name: str) -> GroupRow:
    """Let the lamps of a group rest."""
    await groups.pause(here.store, name=name, paused=True)
    return await show_group(here, name)


@router.post("/{name}/resume", dependencies=[OPERATOR])
async def resume_group(here: Here, name: str) -> GroupRow:
    """Let the lamps of a group show its level again."""
    await groups.pause(here.store, name=name, paused=False)
    return await show_group(here, name)


@router.delete("/{name}", status_code=204, dependencies=[ADMIN])
async def remove_group(here: Here, name: str) -> None:
    """Remove a group that nobody shows; its targets are still measured."""
    await groups.remove(here.store, name=name)

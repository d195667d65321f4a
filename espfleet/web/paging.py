"""Long lists in pages: by name, from after the last name of the page before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Query
from pydantic import BaseModel

Item = TypeVar("Item")

Limit = Annotated[int, Query(ge=1, le=1_000, description="how many at most")]
After = Annotated[str, Query(max_length=64, description="`next` of the page before")]
Search = Annotated[str, Query(max_length=64, description="a part of the name, address or a label")]
Label = Annotated[str, Query(max_length=64)]


class Page(BaseModel):
    """One page: `next` is what to ask for as `after`, or null on the last one; `total` counts all pages."""

    items: list[Any]
    next: str | None
    total: int


def cut(things: Sequence[Item], name: Callable[[Item], str], after: str, limit: int) -> tuple[list[Item], str | None]:
    """Return the things of one page, and the name to go on after; they are in the order of their names."""
    rest = [thing for thing in things if name(thing) > after] if after else list(things)
    page = rest[:limit]
    return page, name(page[-1]) if len(rest) > limit else None


def page_of(
    things: Sequence[Item], name: Callable[[Item], str], row: Callable[[Item], Any], after: str, limit: int
) -> Page:
    """Return one page of things in the order of their names."""
    page, following = cut(things, name, after, limit)
    return Page(items=[row(thing) for thing in page], next=following, total=len(things))


def matches(search: str, *texts: str) -> bool:
    """Return whether one of the texts holds what is searched for, in whatever case."""
    wanted = search.casefold()
    return not wanted or any(wanted in text.casefold() for text in texts)

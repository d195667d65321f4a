"""What every handler of the API gets: the open fleet, a clock, and some values."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from espfleet.domain.attempts import Attempts
from espfleet.services.registering import REAL, Boards
from espfleet.store.client import Store
from espfleet.web.endless import Audience
from espfleet.web.live import Live
from espfleet.web.projector import Projector
from espfleet.web.settings import WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What handlers share.

    Attributes:
        store: The open fleet.
        live: The live feed.
        audience: Those who follow it.
        video_audience: Those who look at cameras.
        settings: Where and how the web is served.
        clock: Returns ms since the epoch, by the clock of Redis.
        boards: How devices are spoken to.
        attempts: Who has shown wrong tokens.
        projector: Shows pictures of cameras.
        started_ms: When this worker started, ms since the epoch.
    """

    store: Store
    live: Live
    audience: Audience
    video_audience: Audience
    settings: WebSettings
    clock: Callable[[], int]
    projector: Projector
    started_ms: int
    boards: Boards = REAL
    attempts: Attempts = field(default_factory=lambda: Attempts(time.monotonic))


def _context(request: Request) -> Context:
    context: Context = request.state.context
    return context


Here = Annotated[Context, Depends(_context)]

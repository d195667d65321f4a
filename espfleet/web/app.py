"""The application: all of the above put together."""

from __future__ import annotations

import functools

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from espfleet import __version__
from espfleet.web import (
    boards,
    devices,
    firmware,
    fleet,
    groups,
    health,
    hub,
    hub_posts,
    hub_video,
    jobs,
    problems,
    rooms,
    session,
    streaming,
    targets,
    tokens,
    upkeep,
)
from espfleet.web.access import VIEWER, EndedLogins
from espfleet.web.browsers import ForBrowsers
from espfleet.web.context import Context
from espfleet.web.etags import ETags
from espfleet.web.guarding import Unambiguous
from espfleet.web.pages import read_files, serve
from espfleet.web.repeats import Repeats

ABOUT = """
Everything that `./espcli` does, over HTTP. Times are ms since the epoch; a level is 0 to 100.

- Show a token as `Authorization: Bearer …`; `./espcli token NAME add` makes one. A fresh
  fleet on loopback asks for none.
- Failures are `application/problem+json` with a stable `code`.
- A `POST` with an `Idempotency-Key` takes effect once, however often it is sent within ten minutes.
- Answers carry an `ETag`; with `If-None-Match`, what has not changed is not sent again.
"""
_PROBLEM = {
    "application/problem+json": {
        "example": {
            "type": "about:blank",
            "title": "Not found",
            "status": 404,
            "code": "not_found",
            "detail": "no device is called 'proch'; did you mean 'porch'?",
            "nearest": ["porch"],
        }
    }
}
_FAILURES: dict[int | str, dict[str, object]] = {
    "4XX": {"description": "It cannot be done; `code` says why", "content": _PROBLEM},
    503: {"description": "Redis is away", "content": _PROBLEM},
}


def create_app(context: Context) -> ASGIApp:
    """Return the application that serves a fleet.

    Raises:
        StartError: If files of the dashboard are missing.
    """
    pages = ForBrowsers(_pages())

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("state", {})["context"] = context
        await pages(scope, receive, send)

    return app


@functools.cache
def _pages() -> FastAPI:
    """Return all that can be asked for, of whichever fleet: made once, for that takes a fifth of a second."""
    app = FastAPI(
        title="espfleet",
        version=__version__,
        description=ABOUT,
        # The usual pages load scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
    )
    problems.install(app)
    guarded = APIRouter(prefix="/api", dependencies=[VIEWER], responses=_FAILURES)
    for part in (devices, jobs, boards, firmware, rooms, groups, targets, fleet, streaming, tokens, upkeep):
        guarded.include_router(part.router)
    app.include_router(guarded)
    app.include_router(fleet.open_router, prefix="/api", responses=_FAILURES)
    app.include_router(session.router, prefix="/api", responses=_FAILURES)
    for part in (hub, hub_posts, hub_video):
        app.include_router(part.router, responses=_FAILURES)
    app.include_router(health.router)
    files = read_files()

    @app.get("/video", include_in_schema=False)
    async def video(request: Request) -> Response:
        return serve(files, "video.html", request)

    @app.get("/{path:path}", include_in_schema=False)
    async def page(request: Request, path: str) -> Response:
        return serve(files, path, request)

    app.add_middleware(Repeats)
    app.add_middleware(EndedLogins)
    app.add_middleware(ETags)
    app.add_middleware(Unambiguous)
    return app

"""Failures as RFC 9457 problem details: one shape, with a code that programs can rely on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from espfleet.errors import (
    BoardError,
    ConflictError,
    FleetError,
    InvalidError,
    NameTakenError,
    NotFoundError,
    RefusedError,
    RoleWantedError,
    StoreError,
    TokenWantedError,
    TooManyError,
)

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
#: Most particular first.
STATUSES: tuple[tuple[type[FleetError], int], ...] = (
    (TokenWantedError, 401),
    (TooManyError, 429),
    (RoleWantedError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (RefusedError, 409),
    (InvalidError, 422),
    # What failed is the device, not this server.
    (BoardError, 424),
    (StoreError, 503),
)
_CODES = {400: "bad_request", 404: "no_such_page", 405: "method_not_allowed", 413: "too_big", 415: "bad_request"}
_TITLES = {
    401: "A token is wanted",
    403: "Not with this role",
    404: "Not found",
    405: "Not done this way",
    409: "Not now",
    413: "Too big",
    422: "Not usable",
    424: "The device failed",
    429: "Too often",
    503: "Redis is away",
}


def problem(status: int, code: str, detail: str, **more: Any) -> JSONResponse:
    """Return a failure as a response.

    Args:
        status: HTTP status.
        code: Stable word for programs.
        detail: One sentence for people.
        more: What else is known.
    """
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if status == 503:
        headers["Retry-After"] = "1"
    return JSONResponse(
        {
            "type": "about:blank",
            "title": _TITLES.get(status, "Failed"),
            "status": status,
            "code": code,
            "detail": detail,
            **more,
        },
        status,
        headers,
        MEDIA_TYPE,
    )


def of_error(exc: FleetError) -> JSONResponse:
    """Return an expected failure as a response."""
    status = next((status for kind, status in STATUSES if isinstance(exc, kind)), 400)
    more: dict[str, Any] = {}
    if isinstance(exc, InvalidError) and exc.field:
        more["field"] = exc.field
    if isinstance(exc, NotFoundError) and exc.nearest:
        more["nearest"] = list(exc.nearest)
    if isinstance(exc, NameTakenError):
        more["suggestion"] = exc.suggestion
    # Where Redis is, is nobody's business who only looks; the log says it.
    detail = "Redis cannot be used at the moment" if isinstance(exc, StoreError) else str(exc)
    answer = problem(status, exc.code, detail, **more)
    if isinstance(exc, TooManyError):
        answer.headers["Retry-After"] = str(math.ceil(exc.wait_s))
    return answer


def install(app: FastAPI) -> None:
    """Let all failures of an application become problem details."""

    async def fleet_error(request: Request, exc: Exception) -> JSONResponse:
        assert isinstance(exc, FleetError)
        if isinstance(exc, StoreError):
            logger.warning("%s %s: %s", request.method, request.url.path, exc)
        return of_error(exc)

    async def bad_request(request: Request, exc: Exception) -> JSONResponse:
        del request
        assert isinstance(exc, RequestValidationError)
        first: Mapping[str, Any] = next(iter(exc.errors()), {})
        where = [str(part) for part in first.get("loc", ()) if part not in ("body", "query", "path")]
        name = ".".join(where)
        detail = f"{name}: {first.get('msg', 'it cannot be used')}" if name else str(first.get("msg", "not usable"))
        return problem(422, "invalid", detail, **({"field": name} if name else {}))

    async def http_error(request: Request, exc: Exception) -> JSONResponse:
        del request
        assert isinstance(exc, HTTPException)
        answer = problem(exc.status_code, _CODES.get(exc.status_code, "failed"), str(exc.detail))
        answer.headers.update(exc.headers or {})
        return answer

    async def defect(request: Request, exc: Exception) -> JSONResponse:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=exc)
        return problem(500, "defect", "this is a defect of espfleet; its log says more")

    app.add_exception_handler(FleetError, fleet_error)
    app.add_exception_handler(RequestValidationError, bad_request)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, defect)

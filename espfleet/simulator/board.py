"""The pages that a simulated lamp serves by itself, as a real one does."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from espfleet import __version__
from espfleet.errors import InvalidError
from espfleet.simulator.http import HttpError, Request, Response, json_response
from espfleet.simulator.lamp import CHIP, Lamp
from espfleet.simulator.page import page
from espfleet.simulator.session import Clock, lamp_url
from espfleet.simulator.specs import check_token

_NO_FOREIGN_FILES = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"
)


class Board:
    """Answers the HTTP requests to one lamp."""

    def __init__(self, lamp: Lamp, *, clock: Clock, provisioned: Callable[[], None]) -> None:
        self._lamp = lamp
        self._clock = clock
        self._provisioned = provisioned
        self._routes: Mapping[str, tuple[str, Callable[[Request], Response]]] = {
            "/": ("GET", self._root),
            "/ui": ("GET", self._ui),
            "/state": ("GET", self._state),
            "/provision": ("POST", self._provision),
        }

    def handle(self, request: Request) -> Response:
        """Return the answer to a request.

        Raises:
            HttpError: If it is refused.
        """
        if request.path not in self._routes:
            raise HttpError(HTTPStatus.NOT_FOUND, f"there is nothing here: look at {', '.join(self._routes)}")
        method, answer = self._routes[request.path]
        if request.method != method and (request.method, method) != ("HEAD", "GET"):
            raise HttpError(
                HTTPStatus.METHOD_NOT_ALLOWED, f"{request.path} takes only {method}", headers={"Allow": method}
            )
        return answer(request)

    def _root(self, _request: Request) -> Response:
        lamp = self._lamp
        return json_response(
            {
                "f": round(lamp.temperature_c(self._clock()) * 9 / 5 + 32),
                "id": lamp.spec.id,
                "gpio": lamp.pins(),
                "name": lamp.name,
                "chip": CHIP,
                "firmware": __version__,
                "kind": "lamp",
                "provision": self._open(),
            }
        )

    def _ui(self, _request: Request) -> Response:
        html = page(self._lamp.view(self._clock()))
        return Response(
            body=html.encode(),
            content_type="text/html; charset=utf-8",
            headers={"Content-Security-Policy": _NO_FOREIGN_FILES},
        )

    def _state(self, _request: Request) -> Response:
        view = self._lamp.view(self._clock())
        return json_response(
            {
                "level": view.level,
                "state": view.state,
                "look": view.word,
                "rgb": list(view.rgb),
                "channels": {name: round(share, 4) for name, share in view.channels._asdict().items()},
                "link": view.link,
                "why": view.why,
                "since_ms": round(time.time() * 1000) - view.for_ms,
                "name": view.name,
                "room": view.room,
                "group": view.group,
            }
        )

    def _provision(self, request: Request) -> Response:
        if "origin" in request.headers:
            raise HttpError(HTTPStatus.FORBIDDEN, "a web page cannot provision a lamp: use ./espcli register")
        values = form_fields(request)
        gateway_url = values.get("gateway_url") or None
        try:
            token = check_token(values.get("token"))
            if gateway_url is not None:
                lamp_url(str(gateway_url))
        except InvalidError as exc:
            raise HttpError(HTTPStatus.BAD_REQUEST, str(exc)) from None
        if not self._open() and token != self._lamp.spec.token:
            raise HttpError(HTTPStatus.CONFLICT, "this lamp has a token already, and its gateway accepts it")
        try:
            self._lamp.provision(token, None if gateway_url is None else str(gateway_url))
        except OSError as exc:
            raise HttpError(HTTPStatus.INSUFFICIENT_STORAGE, f"the token cannot be kept: {exc.strerror}") from exc
        self._provisioned()
        return json_response({"id": self._lamp.spec.id, "status": "OK"})

    def _open(self) -> bool:
        """Whether the lamp takes a token: it has none, or the gateway said that the one it has is worth nothing."""
        return self._lamp.spec.token is None or self._lamp.token_refused


def form_fields(request: Request) -> dict[str, Any]:
    """Return the fields of a request's body, JSON or a form.

    Raises:
        HttpError: If it is neither.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/json":
            values = json.loads(request.body)
        elif kind == "application/x-www-form-urlencoded":
            form = parse_qs(request.body.decode("ascii"), max_num_fields=16, keep_blank_values=True)
            values = {name: given[-1] for name, given in form.items()}
        else:
            raise HttpError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body must be application/json or a form (urlencoded)"
            )
    except (ValueError, RecursionError):
        raise HttpError(HTTPStatus.BAD_REQUEST, f"the body is not {kind}") from None
    if not isinstance(values, dict):
        raise HttpError(HTTPStatus.BAD_REQUEST, "the body is not a JSON object")
    return values

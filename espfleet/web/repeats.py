"""Requests that change something: capped in size, and with an ``Idempotency-Key`` done only once however often sent."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espfleet.errors import RefusedError, StoreError
from espfleet.store import answers
from espfleet.store.answers import Answer
from espfleet.store.client import Store
from espfleet.web.access import role_of
from espfleet.web.hub_posts import PATHS
from espfleet.web.problems import of_error, problem

KEY_CHARS = 128
#: Told once: not kept, and so not told again.
_SECRETS = ("token",)


class Repeats:
    """Reads the body of a request before anything is done, and answers repeated ones as before."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        # What devices post is read by those who have looked at their token, and may be bigger.
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS") or scope["path"] in PATHS:
            await self._app(scope, receive, send)
            return
        most: int = scope["state"]["context"].settings.limits.body_bytes
        body = await _body(receive, most)
        if body is None:
            await problem(413, "too_big", f"a request may have {most} bytes")(scope, receive, send)
            return
        headers = Headers(scope=scope)
        key = headers.get("idempotency-key", "")
        if scope["method"] != "POST" or not key:
            await self._app(scope, _replayed(body), send)
        elif len(key) > KEY_CHARS:
            await problem(422, "invalid", f"an Idempotency-Key may have {KEY_CHARS} characters")(scope, receive, send)
        else:
            # Of whoever asks, too: nobody gets an answer that was meant for somebody else.
            who = headers.get("authorization", "") + headers.get("cookie", "")
            mark = sha256("\n".join([who, scope["path"], key]).encode()).hexdigest()
            try:
                await self._once(mark, body, scope, send)
            except StoreError as exc:
                await of_error(exc)(scope, receive, send)

    async def _once(self, mark: str, body: bytes, scope: Scope, send: Send) -> None:
        fingerprint = sha256(scope["query_string"] + b"\n" + body).hexdigest()
        store: Store = scope["state"]["context"].store
        before = await answers.begin(store, mark, fingerprint)
        receive = _replayed(body)
        if before is not None:
            # Whose token has ended since is told no more than anybody else.
            answer = _again(before, fingerprint) if await _may_ask(scope) else self._app
            await answer(scope, receive, send)
            return
        caught: dict[str, Any] = {"body": b""}

        async def catch(message: Message) -> None:
            if message["type"] == "http.response.start":
                caught["status"] = message["status"]
                caught["kind"] = Headers(raw=message["headers"]).get("content-type", "")
            else:
                caught["body"] += message.get("body", b"")
            await send(message)

        try:
            await self._app(scope, receive, catch)
        finally:
            if 200 <= caught.get("status", 500) < 300:
                text = _without_secrets(caught["body"])
                await answers.keep(store, mark, Answer(fingerprint, caught["status"], caught["kind"], text))
            else:
                await answers.forget(store, mark)


async def _may_ask(scope: Scope) -> bool:
    try:
        await role_of(Request(scope), scope["state"]["context"])
    except RefusedError:
        return False
    return True


def _again(before: Answer, fingerprint: str) -> Response:
    """Return what is answered to a request whose key was used before."""
    if before.fingerprint != fingerprint:
        return problem(422, "key_reused", "this Idempotency-Key belongs to another request")
    if not before.status:
        return problem(409, "in_progress", "the same request is being answered at this moment")
    response = Response(before.body, before.status, media_type=before.kind)
    MutableHeaders(raw=response.raw_headers)["Idempotent-Replayed"] = "true"
    return response


def _without_secrets(body: bytes) -> str:
    try:
        told = json.loads(body)
    except ValueError:
        return ""
    if isinstance(told, dict):
        told = {name: None if name in _SECRETS else value for name, value in told.items()}
    return json.dumps(told)


async def _body(receive: Receive, most: int) -> bytes | None:
    """Return the whole body, or ``None`` if it is too big."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > most:
            return None
        if not message.get("more_body"):
            return b"".join(parts)


def _replayed(body: bytes) -> Receive:
    """Return a way to receive a body that was read already."""
    told = False

    async def receive() -> Message:
        nonlocal told
        if told:
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive

"""Answers of the API: with an ETag, so that what has not changed is not sent again, and compressed where it pays."""

from __future__ import annotations

import gzip
from hashlib import blake2b

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Less is not worth it.
LEAST_BYTES = 1_000


class ETags:
    """Adds them to successful answers in JSON to GET; everything else passes untouched."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        start: Message | None = None
        parts: list[bytes] = []

        async def collect(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if message["status"] == 200 and kind.startswith("application/json"):
                    start = message
                    return
            elif start is not None:
                parts.append(message.get("body", b""))
                if not message.get("more_body"):
                    await _finish(start, b"".join(parts), asked, send)
                return
            await send(message)

        await self._app(scope, receive, collect)


async def _finish(start: Message, body: bytes, asked: Headers, send: Send) -> None:
    headers = MutableHeaders(raw=list(start["headers"]))
    # Weak, for the compressed and the plain answer share it.
    tag = f'W/"{blake2b(body, digest_size=9).hexdigest()}"'
    headers["ETag"] = tag
    headers["Cache-Control"] = "no-cache"
    headers.add_vary_header("Accept-Encoding")
    if tag in [given.strip() for given in asked.get("if-none-match", "").split(",")]:
        del headers["content-length"]
        await send({"type": "http.response.start", "status": 304, "headers": headers.raw})
        await send({"type": "http.response.body", "body": b""})
        return
    if len(body) >= LEAST_BYTES and "gzip" in asked.get("accept-encoding", ""):
        body = gzip.compress(body, 1)
        headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(len(body))
    await send({**start, "headers": headers.raw})
    await send({"type": "http.response.body", "body": body})

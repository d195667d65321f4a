"""What every answer tells browsers: that it is what it says, and that it is for pages of this server alone."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Where a page says nothing else of itself, it is no page: nothing is loaded or run, and nobody may frame it.
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'; sandbox")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    # A picture of a camera could be shown, and measured, by any page that somebody on this machine looks at.
    (b"cross-origin-resource-policy", b"same-origin"),
)


class ForBrowsers:
    """Adds to each answer the headers that keep browsers from taking it for something else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = message.get("headers", ())
                names = {name.lower() for name, _ in told}
                missing = [header for header in (POLICY, *HEADERS) if header[0] not in names]
                message = {**message, "headers": [*told, *missing]}
            await send(message)

        await self._app(scope, receive, tell)

"""Who may do what: by token, by the cookie of a login, or, on a fresh fleet and loopback, anybody on this machine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from espfleet.domain.actors import Actor
from espfleet.domain.roles import Holder, Role
from espfleet.domain.tokens import hash_token
from espfleet.errors import RoleWantedError, TokenWantedError
from espfleet.services import tokens
from espfleet.store import audit
from espfleet.web.context import Context, Here
from espfleet.web.settings import is_loopback

COOKIE = "espfleet_token"
COOKIE_S = 30 * 86_400
_SAFE = ("GET", "HEAD", "OPTIONS")
#: What proxies add to requests: who asks through one is somewhere else.
_BY_PROXY = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


async def role_of(request: Request, context: Context) -> Role:
    """Return the role of whoever asks.

    Raises:
        TokenWantedError: If a token is needed and none, or a wrong one, is shown; or if another site makes a
            browser ask.
        TooManyError: If too many wrong tokens came from there.
    """
    check_origin(request, context)
    token = presented(request)
    if token:
        try:
            holder = await holder_of(context, request, token)
        except TokenWantedError:
            request.state.token_ended = True
            raise
        audit.act_as(Actor("web", holder.name, host_of(request)))
        return holder.role
    if context.settings.loopback and not await tokens.any_admin(context.store):
        if any(name in request.headers for name in _BY_PROXY):
            raise TokenWantedError(
                "behind a proxy a token is needed from the first: './espcli token NAME add --role admin' makes one"
            )
        audit.act_as(Actor("web", "", host_of(request)))
        return Role.ADMIN
    raise TokenWantedError("show a token: in the header 'Authorization: Bearer …', or log in on the dashboard")


async def holder_of(context: Context, request: Request, token: str) -> Holder:
    """Return who has a token.

    Raises:
        TokenWantedError: If nobody has.
        TooManyError: If too many wrong ones came from there.
    """
    host, mark = host_of(request), hash_token(token)
    holder = await tokens.holder_of(context.store, token=token, now_ms=context.clock())
    if holder is None:
        context.attempts.check(host, mark)
    context.attempts.note(host, mark, good=holder is not None)
    if holder is None:
        raise TokenWantedError("this token is not known; './espcli token NAME add' makes one")
    return holder


class EndedLogins:
    """Lets a browser forget the cookie of a login whose token has ended: it would keep it out of an open fleet."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and scope["state"].get("token_ended"):
                answer = Response()
                forget_login(answer)
                cookies = [header for header in answer.raw_headers if header[0] == b"set-cookie"]
                message = {**message, "headers": [*message["headers"], *cookies]}
            await send(message)

        await self._app(scope, receive, tell)


def forget_login(response: Response) -> None:
    """Let a browser forget that somebody has logged in."""
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def host_of(request: Request) -> str:
    """Return the address that a request comes from; headers that say so are believed of named proxies only."""
    return request.client.host if request.client else ""


def presented(request: Request) -> str:
    """Return the token that a request shows, or ``""``."""
    return _in_header(request) or request.cookies.get(COOKIE, "")


def _in_header(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def check_origin(request: Request, context: Context) -> None:
    """Refuse what another site makes a browser ask for, in its user's name."""
    host = request.headers.get("host", "")
    name = _split(f"//{host}").hostname or ""
    if context.settings.loopback and not is_loopback(name):
        # A name that somebody else lets point to this machine (DNS rebinding), or a proxy that makes it public.
        raise TokenWantedError(f"this server answers as localhost only, not as {name!r}")
    # No browser adds this by itself, as it adds a cookie, or the password of a URL.
    if _in_header(request):
        return
    safe = request.method in _SAFE
    # A link may lead here; what pages load of themselves, pictures too, they may not.
    if safe and request.headers.get("sec-fetch-mode") == "navigate":
        return
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise TokenWantedError("another site may not do this")
    origin = request.headers.get("origin")
    if not safe and origin is not None and _split(origin).netloc != host:
        raise TokenWantedError("another site may not do this")


def _split(url: str) -> SplitResult:
    """Return the parts of a URL; one that cannot be has none."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def need(wanted: Role) -> Callable[[Request, Context], Awaitable[Role]]:
    """Return a dependency that lets in whoever has this role."""

    async def check(request: Request, here: Here) -> Role:
        role = await role_of(request, here)
        if not role.may(wanted):
            raise RoleWantedError(wanted.value)
        return role

    return check


VIEWER, OPERATOR, ADMIN = (Depends(need(role)) for role in Role)

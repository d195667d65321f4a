"""The web worker: one listening socket, the application, and the live feed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from ssl import SSLContext

import uvicorn

from espfleet.errors import StartError
from espfleet.services import tokens
from espfleet.services.registering import REAL, Boards
from espfleet.store import workers
from espfleet.store.client import Store
from espfleet.web.app import create_app
from espfleet.web.context import Context, WebSettings
from espfleet.web.guarding import MOST_CONNECTIONS, GuardedProtocol
from espfleet.web.live import Live
from espfleet.web.projector import Projector

logger = logging.getLogger(__name__)

ROLE = "web"
BEAT_S = 1.0
STOP_S = 1
#: Dates are told in seconds.
TICK_S = 1.0
BACKLOG = 1_024


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it, and sleeps until it is told to stop."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._told = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Keep the date of answers right; uvicorn's own looks ten times a second whether it is to stop."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await self._told.wait()

    def stop(self) -> None:
        """Take no more requests, and end."""
        self.should_exit = True
        self._told.set()


async def run_web(store: Store, settings: WebSettings, boards: Boards = REAL) -> None:
    """Serve dashboard and API until cancelled.

    Raises:
        StartError: If the address cannot be listened on, or is open to others and no admin has a token.
    """
    if not settings.loopback and not await tokens.any_admin(store):
        raise StartError(
            f"WEB_HOST {settings.host} is open to others and nobody has an admin's token: "
            "'./espcli token NAME add --role admin' makes one"
        )
    listening = listen(settings)
    live = Live(store, now_ms)
    projector = Projector(store)
    context = Context(
        store=store,
        live=live,
        settings=settings,
        clock=now_ms,
        projector=projector,
        started_ms=now_ms(),
        boards=boards,
    )
    app = create_app(context)
    config = uvicorn.Config(
        app,
        http=GuardedProtocol,
        # There is none here; those of lamps and viewers are the gateway's.
        ws="none",
        limit_concurrency=MOST_CONNECTIONS,
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        backlog=BACKLOG,
        ssl_context_factory=_always(settings.tls) if settings.tls else None,
    )
    server = _Server(config)
    logger.info("dashboard at %s", url_of(settings))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live.run(), name="live")
            tasks.create_task(projector.run(), name="projector")
            tasks.create_task(_beat(store, settings, live), name="beat")
            tasks.create_task(_serve(server, listening), name="http")
    finally:
        listening.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(0.5):
                await workers.leave(store, ROLE, settings.name)


def _always(context: SSLContext) -> Callable[..., SSLContext]:
    return lambda *_: context


async def _serve(server: _Server, listening: socket.socket) -> None:
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        await asyncio.shield(serving)
    finally:
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S + 0.3):
                await serving


async def _beat(store: Store, settings: WebSettings, live: Live) -> None:
    from espfleet.errors import StoreError

    while True:
        with contextlib.suppress(StoreError):
            await workers.beat(store, ROLE, settings.name, {"readers": live.readers, "cut": live.cut})
        await asyncio.sleep(BEAT_S)


def listen(settings: WebSettings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        StartError: If that is not possible.
    """
    try:
        family, kind, proto, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # With its protocol named, asyncio turns Nagle's algorithm off, which would hold each answer up for 40 ms.
        listening = socket.socket(family, kind, proto or socket.IPPROTO_TCP)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
    except OSError as exc:
        raise StartError(
            f"the web cannot listen on {settings.host}:{settings.port}: {exc.strerror}; set WEB_HOST or WEB_PORT"
        ) from exc
    return listening


def url_of(settings: WebSettings) -> str:
    """Return the URL by which a browser on this machine reaches the dashboard."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls else "http"
    return f"{scheme}://[{host}]:{settings.port}/" if ":" in host else f"{scheme}://{host}:{settings.port}/"


def now_ms() -> int:
    """Return the time, ms since the epoch."""
    return time.time_ns() // 1_000_000

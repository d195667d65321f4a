"""The web worker: one listening socket, the application, and the live feed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import cast

import uvicorn

from espfleet.errors import StartError, StoreError
from espfleet.services import tokens
from espfleet.services.absences import Absences
from espfleet.services.registering import REAL, Boards
from espfleet.store import workers
from espfleet.store.client import Store
from espfleet.web.app import create_app
from espfleet.web.context import Context
from espfleet.web.crowd import Crowd
from espfleet.web.endless import Audience
from espfleet.web.guarding import HEAD_BYTES, GuardedProtocol
from espfleet.web.listening import BACKLOG, listen, open_door, url_of
from espfleet.web.live import Live
from espfleet.web.projector import Projector
from espfleet.web.settings import WebSettings
from espfleet.web.throttle import Throttle
from espfleet.web.turns import Turns

logger = logging.getLogger(__name__)

ROLE = "web"
BEAT_S = 1.0
STOP_S = 1
#: Dates are told in seconds.
TICK_S = 1.0


class _Server(uvicorn.Server):
    """A server that leaves signals to whoever runs it, and sleeps until it is told to stop."""

    def __init__(self, config: uvicorn.Config, settings: WebSettings, crowd: Crowd) -> None:
        super().__init__(config)
        self._settings = settings
        self._crowd = crowd
        self._told = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections; where TLS is spoken at a door of ours, for uvicorn's hangs up on plain clients."""
        tls = self._settings.tls
        if tls is None:
            await super().startup(sockets)
            return
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        made = partial(protocol, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        crowd = self._crowd
        doors = [open_door(one, made, self._settings, tls, crowd.may_come, crowd.cut) for one in sockets or ()]
        # It only closes them.
        self.servers = cast("list[asyncio.base_events.Server]", doors)
        self.started = True

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
    live = Live(store, store.now_ms)
    projector = Projector(store)
    context = Context(
        store=store,
        live=live,
        audience=Audience(settings.limits.readers),
        video_audience=Audience(settings.limits.video_readers),
        settings=settings,
        clock=store.now_ms,
        projector=projector,
        started_ms=store.now_ms(),
        boards=boards,
    )
    app = Throttle(Turns(create_app(context)), settings.limits, context.attempts, time.monotonic)
    crowd = Crowd(settings.limits)
    config = uvicorn.Config(
        app,
        # It only calls it.
        http=cast(
            "type[asyncio.Protocol]",
            partial(GuardedProtocol, crowd=crowd, limits=settings.limits),
        ),
        # There is none here; those of lamps and viewers are the gateway's.
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        # By itself it believes what anybody on this machine writes into a header.
        proxy_headers=bool(settings.proxies),
        forwarded_allow_ips=settings.proxies,
        timeout_graceful_shutdown=STOP_S,
        backlog=BACKLOG,
        h11_max_incomplete_event_size=HEAD_BYTES,
    )
    server = _Server(config, settings, crowd)
    logger.info("dashboard at %s", url_of(settings))
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(live.run(), name="live")
            tasks.create_task(projector.run(), name="projector")
            tasks.create_task(Absences(store, lambda: live.readers, live.absent).run(), name="absences")
            tasks.create_task(_beat(store, settings, live, crowd, app), name="beat")
            tasks.create_task(_serve(server, listening), name="http")
    finally:
        listening.close()
        with contextlib.suppress(Exception):
            async with asyncio.timeout(0.5):
                await workers.leave(store, ROLE, settings.name)


async def _serve(server: _Server, listening: socket.socket) -> None:
    serving = asyncio.ensure_future(server.serve([listening]))
    try:
        await asyncio.shield(serving)
    finally:
        server.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_S + 0.3):
                await serving


async def _beat(store: Store, settings: WebSettings, live: Live, crowd: Crowd, throttle: Throttle) -> None:
    while True:
        with contextlib.suppress(StoreError):
            info = {
                "readers": live.readers,
                "cut": live.cut,
                "refused": crowd.refused,
                "throttled": throttle.refused,
            }
            await workers.beat(store, ROLE, settings.name, info)
        await asyncio.sleep(BEAT_S)

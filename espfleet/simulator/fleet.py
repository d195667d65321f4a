"""Many simulated lamps in one process."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

from espfleet.domain.names import nearest
from espfleet.errors import ConflictError, NotFoundError, StartError
from espfleet.simulator.board import Board
from espfleet.simulator.http import HttpServer
from espfleet.simulator.lamp import Keep, Lamp, LampView
from espfleet.simulator.session import READINGS_MS, Clock, Session, lamp_url, monotonic_ms
from espfleet.simulator.specs import LampSpec

#: Simulated lamps are for the one who started them.
HOST = "127.0.0.1"


class Simulator:
    """Lamps that connect to a gateway and serve their pages on loopback.

    Args:
        lamps: Who they are.
        gateway_url: ``ws://HOST:PORT`` of the gateway, for lamps that were not told another one.
        provisioned: Called with the new spec of a lamp that is handed a token; keep it to keep the token.
        tls: How to check the gateway's certificate, for ``wss``.
        clock: Now, in ms, on a clock that never jumps.
        seed: Of everything random: waits, readings.
        readings_ms: Time between two readings of a lamp.

    Raises:
        InvalidError: If a URL is not a gateway's.
        ConflictError: If two lamps have the same id or name.
    """

    def __init__(
        self,
        lamps: Iterable[LampSpec],
        gateway_url: str,
        *,
        provisioned: Keep | None = None,
        tls: ssl.SSLContext | None = None,
        clock: Clock = monotonic_ms,
        seed: int | None = None,
        readings_ms: int = READINGS_MS,
    ) -> None:
        specs = list(lamps)
        lamp_url(gateway_url)
        for spec in specs:
            lamp_url(spec.gateway_url or gateway_url)
        if len({spec.id for spec in specs}) < len(specs) or len({spec.name for spec in specs}) < len(specs):
            raise ConflictError("two simulated lamps have the same id or name")
        random = Random(seed)
        self.started = asyncio.Event()
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._servers: list[HttpServer] = []
        self._stopped = asyncio.Event()
        for spec in specs:
            own = Random(random.getrandbits(64))
            lamp = Lamp(spec, now_ms=clock(), random=own, keep=provisioned)
            self._sessions[spec.id] = Session(
                lamp, gateway_url, clock=clock, random=own, tls=tls, readings_ms=readings_ms
            )

    async def run(self) -> None:
        """Run until ``stop`` or until cancelled; both end all connections and close all ports.

        Raises:
            StartError: If a lamp's port is taken.
        """
        sessions: list[asyncio.Task[Any]] = []
        try:
            for session in self._sessions.values():
                await self._serve(session)
            self.started.set()
            sessions = [
                asyncio.create_task(session.run(), name=f"lamp {session.lamp.spec.name}")
                for session in self._sessions.values()
            ]
            stopped = asyncio.create_task(self._stopped.wait(), name="stop of the simulator")
            sessions.append(stopped)
            ended, _ = await asyncio.wait(sessions, return_when=asyncio.FIRST_COMPLETED)
            for task in ended - {stopped}:
                task.result()
        finally:
            for task in sessions:
                task.cancel()
            await asyncio.gather(*sessions, *(server.close() for server in self._servers), return_exceptions=True)
            self._servers.clear()

    def stop(self) -> None:
        """Make ``run`` end."""
        self._stopped.set()

    def looks(self) -> list[LampView]:
        """Return what each lamp shows now."""
        now_ms = self._clock()
        return [session.lamp.view(now_ms) for session in self._sessions.values()]

    def look(self, lamp: str) -> LampView:
        """Return what the lamp with this id or name shows now.

        Raises:
            NotFoundError: If there is none.
        """
        return self._session(lamp).lamp.view(self._clock())

    async def tell_event(self, lamp: str, name: str, fields: Mapping[str, Any] | None = None) -> bool:
        """Let a lamp tell that something happened to it; ``False`` if it is not connected."""
        return await self._session(lamp).tell_event(name, fields or {})

    def freeze(self, lamp: str) -> None:
        """Let a lamp say nothing more, as a program that hangs; its connection stays open."""
        self._session(lamp).freeze()

    def stop_reading(self, lamp: str) -> None:
        """Let a lamp read nothing more; its connection stays open, and it still sends keepalives."""
        self._session(lamp).stop_reading()

    def thaw(self, lamp: str) -> None:
        """End ``freeze`` and ``stop_reading``."""
        self._session(lamp).thaw()

    def cut(self, lamp: str) -> None:
        """Let a lamp lose its connection without a closing word; it connects again by itself."""
        self._session(lamp).cut()

    def _session(self, lamp: str) -> Session:
        for session in self._sessions.values():
            if lamp in (session.lamp.spec.id, session.lamp.spec.name, session.lamp.name):
                return session
        names = [session.lamp.name for session in self._sessions.values()]
        raise NotFoundError("simulated lamp", lamp, nearest(lamp, names))

    async def _serve(self, session: Session) -> None:
        lamp = session.lamp
        server = HttpServer(Board(lamp, clock=self._clock, provisioned=session.wake).handle)
        try:
            port = await server.start(HOST, lamp.spec.port)
        except OSError as exc:
            raise StartError(
                f"the simulated lamp {lamp.spec.name!r} cannot serve its pages on {HOST}:{lamp.spec.port}: "
                f"{exc.strerror or exc}"
            ) from exc
        self._servers.append(server)
        lamp.address = f"{HOST}:{port}"
